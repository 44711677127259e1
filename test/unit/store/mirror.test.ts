import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { commitChanges } from '../../../controller/store/commit.ts';
import {
  clusterKey,
  contentKey,
  factsKey,
  nodeKey,
  parseKey,
  registryKey,
  serviceKey,
  stackKey,
  statusKey,
  taskKey,
  tokenKey,
} from '../../../controller/store/keys.ts';
import { createMemoryStore } from '../../../controller/store/memory/memory-store.ts';
import { startMirror } from '../../../controller/store/mirror.ts';
import type { Mirror } from '../../../controller/store/mirror.ts';
import type { Operation, Store, WatchBatch } from '../../../controller/store/store.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import type { Logger } from '../../../proto/base/log.ts';
import {
  encodeClusterRecord,
  encodeContentRecord,
  encodeNode,
  encodeNodeFacts,
  encodeTask,
  encodeTaskStatus,
} from '../../../proto/codec/records.ts';
import { aService } from '../../builders/domain.ts';
import type { Task, TaskState, TaskStatus } from '../../../proto/domain/task.ts';

const task = (id: string, over: Partial<Task> = {}): Task => ({
  id,
  stack: 'hello',
  service: 'web',
  slot: 1,
  template: {
    image: { reference: 'r/web:1', digest: 'sha256:0' },
    environment: {},
    labels: {},
    limits: {},
    reservations: { cpuMillis: 0, memoryBytes: 0 },
    stopGracePeriodMs: 10_000,
    drainDelayMs: 0,
    mounts: [],
    files: [],
    networks: [{ network: 'shop_default', aliases: [] }],
    generation: 0,
  },
  templateHash: 'h',
  desired: 'running',
  attempt: 0,
  quickFailures: 0,
  restarts: 0,
  createdAtMs: 1,
  restartedAtMs: [],
  ...over,
});
const status = (taskId: string, state: TaskState, over: Partial<TaskStatus> = {}): TaskStatus => ({
  taskId,
  state,
  health: 'none',
  sinceMs: 1,
  ...over,
});
const put = (key: string, value: Uint8Array): Operation => ({ kind: 'put', key, value });
const putTask = (id: string): Operation => put(taskKey(id), encodeTask(task(id)));
const putStatus = (value: TaskStatus): Operation => put(statusKey(value.taskId), encodeTaskStatus(value));

let store: Store;
let mirror: Mirror;
const write = async (...operations: Operation[]): Promise<number> => {
  const [result] = await store.commit([{ compares: [], operations }]);
  if (result?.kind !== 'committed') throw new Error('conflict');
  await mirror.waitForRevision(result.revision);
  return result.revision;
};

beforeEach(async () => {
  store = createMemoryStore();
  mirror = await startMirror(store, silentLogger);
});
afterEach(async () => {
  await mirror.close();
  await store.close();
});

describe('keys', () => {
  it('parses what it builds, and nothing else', () => {
    expect(parseKey(clusterKey)).toEqual({ kind: 'cluster' });
    expect(parseKey(serviceKey('hello/web'))).toEqual({ kind: 'service', id: 'hello/web' });
    const built = [stackKey('a'), taskKey('a'), statusKey('a'), nodeKey('a'), factsKey('a'), tokenKey('a')].map(
      parseKey,
    );
    expect(built.map((key) => key?.kind)).toEqual(['stack', 'task', 'status', 'node', 'facts', 'token']);
    expect([contentKey('a'), registryKey('a:1')].map((key) => parseKey(key)?.kind)).toEqual(['content', 'registry']);
    for (const key of ['', 'tasks', 'tasks/', 'other/1', '/x', 'clusters', 'constructor/x'])
      expect(parseKey(key)).toBeUndefined();
  });
});

describe('mirror', () => {
  it('shows what is stored, by id, with revisions', async () => {
    const cluster = {
      id: 'c',
      secret: new Uint8Array(32),
      containerPool: '10.1.0.0/16',
      vipPool: '10.2.0.0/16',
      epoch: 1,
      caCertificate: '',
    };
    const facts = {
      nodeId: 'n1',
      address: '192.0.2.1',
      livenessPort: 9,
      capacity: { cpuMillis: 1, memoryBytes: 1 },
      architecture: 'amd64',
      os: 'linux',
      agentVersion: '1',
    };
    await write(
      put(clusterKey, encodeClusterRecord(cluster)),
      putTask('t1'),
      put(factsKey('n1'), encodeNodeFacts(facts)),
    );
    await write(putStatus(status('t1', 'running')));
    const snapshot = mirror.snapshot();
    expect(snapshot).toMatchObject({ revision: 2, containerPool: '10.1.0.0/16', vipPool: '10.2.0.0/16' });
    expect(snapshot.tasks.get('t1')).toMatchObject({ modRevision: 1, value: { id: 't1', service: 'web' } });
    expect(snapshot.statuses.get('t1')?.state).toBe('running');
    expect(snapshot.facts.get('n1')).toEqual(facts);
  });

  it('knows of configs and secrets without keeping their bytes, and nothing of registry passwords', async () => {
    const record = { id: 'secret-1', kind: 'secret', writtenAtMs: 5, value: new Uint8Array(1_000) } as const;
    await write(put(contentKey('secret-1'), encodeContentRecord(record)), put(registryKey('r:1'), Uint8Array.of(1)));
    const { id, kind, writtenAtMs } = record;
    expect([...mirror.snapshot().contents]).toEqual([
      ['secret-1', { value: { id, kind, writtenAtMs }, modRevision: 1 }],
    ]);
    await write({ kind: 'delete', key: contentKey('secret-1') }, { kind: 'delete', key: registryKey('r:1') });
    expect(mirror.snapshot().contents.size).toBe(0);
    expect(mirror.unreadable().size).toBe(0);
  });

  it('starts with what was there before', async () => {
    await write(putTask('t1'), putTask('t2'));
    const second = await startMirror(store, silentLogger);
    expect([...second.snapshot().tasks.keys()]).toEqual(['t1', 't2']);
    await second.close();
  });

  it('never changes a snapshot it handed out, and shares what did not change', async () => {
    await write(putTask('t1'));
    const before = mirror.snapshot();
    expect(mirror.snapshot()).toBe(before);
    await write(putTask('t2'));
    await write({ kind: 'delete', key: taskKey('t1') });
    const after = mirror.snapshot();
    expect([...before.tasks.keys()]).toEqual(['t1']);
    expect([...after.tasks.keys()]).toEqual(['t2']);
    expect(after.nodes).toBe(before.nodes);
    expect(after.statuses).toBe(before.statuses);
  });

  it('tells listeners after the change, and not after they left', async () => {
    const seen: number[] = [];
    const leave = mirror.onChange(() => seen.push(mirror.snapshot().tasks.size));
    await write(putTask('t1'));
    await new Promise((resolve) => setImmediate(resolve));
    leave();
    await write(putTask('t2'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(seen).toEqual([1]);
  });

  it('lets transient statuses only move forward, until the stored one is as far', async () => {
    const shown = (): string =>
      `${mirror.snapshot().statuses.get('t1')?.state ?? '-'} ${mirror.snapshot().statuses.get('t1')?.reason ?? ''}`.trim();
    expect(mirror.reportTransient(status('t1', 'preparing'))).toBe(false);
    await write(putTask('t1'));
    expect(mirror.reportTransient(status('t1', 'preparing', { reason: '10 of 20 MB' }))).toBe(true);
    expect(mirror.reportTransient(status('t1', 'preparing', { reason: '20 of 20 MB' }))).toBe(true);
    expect(shown()).toBe('preparing 20 of 20 MB');
    expect(mirror.reportTransient(status('t1', 'accepted'))).toBe(false);
    expect(mirror.reportTransient(status('t1', 'starting'))).toBe(true);
    await write(putStatus(status('t1', 'running')));
    expect(shown()).toBe('running');
    expect(mirror.reportTransient(status('t1', 'starting'))).toBe(false);
    expect(mirror.reportTransient(status('t1', 'running', { health: 'healthy' }))).toBe(false);
    await write(putStatus(status('t1', 'complete')));
    expect(mirror.reportTransient(status('t1', 'failed'))).toBe(false);
    await write({ kind: 'delete', key: taskKey('t1') }, { kind: 'delete', key: statusKey('t1') });
    expect(shown()).toBe('-');
  });

  it('forgets a transient status with its task', async () => {
    await write(putTask('t1'));
    mirror.reportTransient(status('t1', 'preparing'));
    await write({ kind: 'delete', key: taskKey('t1') });
    expect(mirror.snapshot().statuses.size).toBe(0);
    await write(putTask('t1'));
    expect(mirror.snapshot().statuses.size).toBe(0);
  });

  it('leaves out what it cannot read, says so with the key, and takes it back when it is mended', async () => {
    await mirror.close();
    const complaints: unknown[] = [];
    const logger: Logger = { ...silentLogger, error: (fields) => complaints.push(fields['key']) };
    mirror = await startMirror(store, logger);
    await write(
      putTask('t1'),
      put(taskKey('bad'), Buffer.from('\xff\xff garbage', 'latin1')),
      put('unknown/1', new Uint8Array([1])),
    );
    expect([...mirror.snapshot().tasks.keys()]).toEqual(['t1']);
    expect(complaints).toEqual([taskKey('bad')]);
    expect([...mirror.unreadable().keys()]).toEqual([taskKey('bad')]);
    await write(putTask('bad'));
    expect(mirror.snapshot().tasks.size).toBe(2);
    expect(mirror.unreadable().size).toBe(0);
  });

  it('reads everything again when the watch breaks, missing neither puts nor deletes', async () => {
    await write(putTask('t1'), putTask('t2'));
    let breakWatch: () => void = () => undefined;
    let broken = 0;
    const flaky: Store = {
      ...store,
      range: (prefix) => (broken++ === 1 ? Promise.reject(new FrotaError('unavailable', 'gone')) : store.range(prefix)),
      watch: (prefix, from, signal) =>
        from < 2 ? failing(new Promise((resolve) => (breakWatch = resolve))) : store.watch(prefix, from, signal),
    };
    const second = await startMirror(flaky, silentLogger);
    const kept = second.snapshot().tasks.get('t2');
    await write({ kind: 'delete', key: taskKey('t1') }, putTask('t3'));
    const waiting = second.waitForRevision(2);
    const nagging = setInterval(() => {
      breakWatch();
    }, 5);
    await waiting;
    clearInterval(nagging);
    expect([...second.snapshot().tasks.keys()]).toEqual(['t2', 't3']);
    expect(second.snapshot().tasks.get('t2')).toBe(kept);
    await write(putTask('t4'));
    await second.waitForRevision(3);
    expect(second.snapshot().tasks.has('t4')).toBe(true);
    await second.close();
  });

  it('ends waiting when it is closed', async () => {
    const waiting = mirror.waitForRevision(99);
    await Promise.all([expect(waiting).rejects.toMatchObject({ code: 'cancelled' }), mirror.close()]);
    await expect(mirror.waitForRevision(1)).rejects.toMatchObject({ code: 'cancelled' });
  });
});

async function* failing(until: Promise<void>): AsyncGenerator<WatchBatch> {
  await until;
  yield* [];
  throw new FrotaError('conflict', 'compacted');
}

describe('commitChanges', () => {
  const node = {
    id: 'n1',
    name: 'n1',
    availability: 'active' as const,
    subnet: '10.0.0.0/24',
    joinedAtMs: 1,
    labels: {},
  };

  it('drops what conflicts and keeps the rest', async () => {
    const nodeRevision = await write(put(nodeKey('n1'), encodeNode(node)));
    const outcome = await commitChanges(store, [
      {
        kind: 'put-task',
        task: task('t1', { nodeId: 'n1' }),
        modRevision: 0,
        node: { id: 'n1', modRevision: nodeRevision },
      },
      { kind: 'put-task', task: task('t2', { nodeId: 'n1' }), modRevision: 0, node: { id: 'n1', modRevision: 99 } },
      { kind: 'put-service', service: aService({ stack: 'hello', vip: '10.2.0.1' }), modRevision: 0 },
      { kind: 'put-task', task: task('t1'), modRevision: 0 },
    ]);
    expect(outcome).toEqual({ committed: 2, conflicts: 2, revision: 3, superseded: false });
    await mirror.waitForRevision(outcome.revision);
    expect([...mirror.snapshot().tasks.keys()]).toEqual(['t1']);
    expect(mirror.snapshot().services.get('hello/web')?.value.vip).toBe('10.2.0.1');
  });

  it('deletes a task with its status, and a service', async () => {
    const revision = await write(putTask('t1'), putStatus(status('t1', 'running')));
    const [service] = await Promise.all([
      commitChanges(store, [
        { kind: 'put-service', service: aService({ stack: 'a', name: 'b', vip: '' }), modRevision: 0 },
      ]),
    ]);
    const outcome = await commitChanges(store, [
      { kind: 'delete-task', id: 't1', modRevision: revision },
      { kind: 'delete-service', id: 'a/b', modRevision: service.revision, pins: [] },
    ]);
    expect(outcome.committed).toBe(2);
    expect((await store.range('')).entries).toEqual([]);
  });

  it('writes nothing once another controller has taken over, however many the changes', async () => {
    const modRevision = await write(put(clusterKey, new Uint8Array([1])));
    const changes = Array.from({ length: 1_200 }, (_, n) => ({
      kind: 'put-task' as const,
      task: task(`t${String(n)}`),
      modRevision: 0,
    }));
    const fence = { key: clusterKey, modRevision };
    expect(await commitChanges(store, changes.slice(0, 1), fence)).toMatchObject({ committed: 1, superseded: false });
    await store.commit([{ compares: [], operations: [put(clusterKey, new Uint8Array([2]))] }]);
    expect(await commitChanges(store, changes.slice(1), fence)).toEqual({
      committed: 0,
      conflicts: 1_199,
      revision: 0,
      superseded: true,
    });
    expect((await store.range('tasks/')).entries).toHaveLength(1);
  });
});
