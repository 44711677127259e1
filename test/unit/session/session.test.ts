import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { loadAssignments } from '../../../agent/session/assignments.ts';
import type { Assignments } from '../../../agent/session/assignments.ts';
import { startSession, toReport } from '../../../agent/session/session.ts';
import type { DispatchStream, SessionPorts } from '../../../agent/session/session.ts';
import { createJournal } from '../../../agent/state/journal.ts';
import type { Journal } from '../../../agent/state/journal.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { monoMs, wallMs } from '../../../proto/base/clock.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { createOutbox } from '../../fakes/outbox.ts';
import type { Outbox } from '../../fakes/outbox.ts';
import type { AgentMessage, ControllerMessage } from '../../../proto/codec/dispatch.ts';
import type { TaskStatus } from '../../../proto/domain/task.ts';

interface FakeController {
  readonly streams: { sent: AgentMessage[]; say: Outbox<ControllerMessage> }[];
  readonly open: (signal: AbortSignal) => DispatchStream;
}

function fakeController(): FakeController {
  const streams: FakeController['streams'] = [];
  return {
    streams,
    open: (signal) => {
      const say = createOutbox<ControllerMessage>(100, signal);
      const sent: AgentMessage[] = [];
      streams.push({ sent, say });
      return {
        send: (message) => {
          sent.push(message);
          return Promise.resolve();
        },
        messages: say,
        close: () => {
          say.close();
        },
      };
    },
  };
}

const welcome = (epoch: number): ControllerMessage => ({
  kind: 'welcome', epoch, nodeId: 'node1', nodeName: 'n1', subnet: '10.64.0.0/24',
  livenessKey: new Uint8Array(32), livenessPort: 7402, heartbeatIntervalMs: 200, insecureRegistries: [],
}); // prettier-ignore

const running: TaskStatus = { taskId: 'a', state: 'running', health: 'none', sinceMs: 900, startedAtMs: 800 };

describe('session', () => {
  let folder = '';
  let assignments: Assignments;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ft-session-'));
    assignments = await loadAssignments(createJournal(folder, silentLogger), silentLogger);
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const ports = (controller: FakeController, over: Partial<SessionPorts> = {}): SessionPorts => ({
    open: controller.open,
    assignments,
    bootId: new Uint8Array(16),
    facts: () =>
      Promise.resolve({
        nodeId: 'node1', address: '10.0.0.1', livenessPort: 7403, capacity: { cpuMillis: 1, memoryBytes: 1 },
        architecture: 'amd64', os: 'linux', agentVersion: '0',
      }), // prettier-ignore
    statuses: () => [running],
    onWelcome: () => Promise.resolve(),
    onUnit: () => Promise.resolve(),
    onOpen: () => undefined,
    onSynced: () => Promise.resolve(),
    onLivenessPlan: () => undefined,
    onLease: () => undefined,
    clock: { now: () => ({ monoMs: monoMs(0), wallMs: wallMs(1_000) }) },
    random: () => 0,
    logger: silentLogger,
    ...over,
  });

  it('says hello, is told what to have, tells everything it has, and says so again on the next stream', async () => {
    const controller = fakeController();
    const units: string[] = [];
    const session = startSession(ports(controller, { onUnit: (key) => Promise.resolve(void units.push(key)) }));
    await vi.waitFor(() => {
      expect(controller.streams[0]?.sent[0]).toMatchObject({ kind: 'hello', held: [] });
    });
    const first = controller.streams[0];
    first?.say.push(welcome(3));
    first?.say.push({ kind: 'unit', key: 'tasks', unit: { revision: 'r1', unit: { kind: 'tasks', tasks: [] } } });
    await vi.waitFor(() => {
      expect(first?.sent[1]).toMatchObject({ kind: 'statuses', sequence: 1 });
      expect(units).toEqual(['tasks']);
    });
    first?.say.close();
    await vi.waitFor(() => {
      expect(controller.streams[1]?.sent[0]).toMatchObject({ kind: 'hello', held: [{ key: 'tasks', revision: 'r1' }] });
    });
    await session.close();
  });

  it('says what is in force once, again after the same unit was sent again, and all of it on a new stream', async () => {
    const controller = fakeController();
    const session = startSession(ports(controller, { statuses: () => [] }));
    const applied = (stream = controller.streams[0]) =>
      stream?.sent.flatMap((message) => (message.kind === 'applied' ? [message.units.map(({ key, revision }) => `${key}=${revision}`)] : [])); // prettier-ignore
    const unit = { kind: 'service', stack: 'a', name: 'b', vip: '10.80.0.1', ports: [], endpoints: [], members: [], networks: [] } as const; // prettier-ignore
    const neverSent = { revision: '', unit };
    const sources: Record<string, typeof neverSent> = {};
    const inForce = (...revisions: string[]) => {
      session.applied(
        revisions.map((revision, index) => ({
          key: `service:a/${String(index)}`,
          revision,
          source: sources[revision] ?? neverSent,
        })),
      );
    };
    await vi.waitFor(() => {
      expect(controller.streams).toHaveLength(1);
    });
    // Before there is anybody to tell.
    inForce('r1', 'x');
    controller.streams[0]?.say.push(welcome(1));
    await vi.waitFor(() => {
      expect(applied()).toEqual([['service:a/0=r1', 'service:a/1=x']]);
    });
    inForce('r1', 'x');
    inForce('r2', 'x');
    await vi.waitFor(() => {
      expect(applied()?.slice(1)).toEqual([['service:a/0=r2']]);
    });
    const again = { revision: 'r2', unit };
    controller.streams[0]?.say.push({ kind: 'unit', key: 'service:a/0', unit: { revision: 'r3', unit } });
    controller.streams[0]?.say.push({ kind: 'unit', key: 'service:a/0', unit: again });
    await vi.waitFor(() => {
      expect(assignments.heldServices()).toEqual([{ key: 'service:a/0', revision: 'r2', source: again }]);
    });
    // From before r3, which may be on its way into force: that says nothing.
    inForce('r2', 'x');
    session.report({ ...running, taskId: 't1' });
    await vi.waitFor(() => {
      expect(controller.streams[0]?.sent.at(-1)).toMatchObject({ kind: 'statuses' });
    });
    expect(applied()?.slice(2)).toEqual([]);
    sources['r2'] = again;
    inForce('r2', 'x');
    await vi.waitFor(() => {
      expect(applied()?.slice(2)).toEqual([['service:a/0=r2']]);
    });
    controller.streams[0]?.say.close();
    await vi.waitFor(() => {
      expect(controller.streams).toHaveLength(2);
    });
    controller.streams[1]?.say.push(welcome(1));
    await vi.waitFor(() => {
      expect(applied(controller.streams[1])).toEqual([['service:a/0=r2', 'service:a/1=x']]);
    });
    await session.close();
  });

  it('follows orders on a full disk, once, on one stream', async () => {
    const broken: Journal = {
      put: () => Promise.reject(new FrotaError('exhausted', 'the disk is full')),
      delete: () => Promise.resolve(),
      load: () => Promise.resolve([]),
    };
    const controller = fakeController();
    const units: string[] = [];
    const session = startSession(
      ports(controller, {
        assignments: await loadAssignments(broken, silentLogger),
        onUnit: (key) => Promise.resolve(void units.push(key)),
      }),
    );
    await vi.waitFor(() => {
      expect(controller.streams).toHaveLength(1);
    });
    controller.streams[0]?.say.push(welcome(1));
    controller.streams[0]?.say.push({ kind: 'unit', key: 'tasks', unit: { revision: 'r', unit: { kind: 'tasks', tasks: [] } } }); // prettier-ignore
    await vi.waitFor(() => {
      expect(units).toEqual(['tasks']);
    });
    expect(controller.streams).toHaveLength(1);
    await session.close();
  });

  it('tells the node’s own attempts first, and what of them the controller does not want', async () => {
    const controller = fakeController();
    const own = { replaces: ['a'], createdAtMs: 600, attempt: 1, quickFailures: 0, restarts: 1, restartedAtMs: [500] };
    const made: TaskStatus = { ...running, taskId: 'b' };
    const unwanted: string[] = [];
    const session = startSession(
      ports(controller, {
        statuses: () => [{ ...running, state: 'failed' }, made],
        localAttempt: (taskId) => (taskId === 'b' ? own : undefined),
        onUnwanted: (taskIds) => Promise.resolve(void unwanted.push(...taskIds)),
      }),
    );
    session.report({ ...running, state: 'failed' });
    await vi.waitFor(() => {
      expect(controller.streams).toHaveLength(1);
    });
    controller.streams[0]?.say.push(welcome(1));
    await vi.waitFor(() => {
      const told = controller.streams[0]?.sent.find((message) => message.kind === 'statuses');
      expect(told).toMatchObject({
        reports: [
          { taskId: 'b', local: { replaces: ['a'], createdAgoMs: 400, restartedAgoMs: [500], restarts: 1 } },
          { taskId: 'a', state: 'failed' },
        ],
      });
    });
    controller.streams[0]?.say.push({ kind: 'ack', sequence: 1, unwanted: ['b'] });
    await vi.waitFor(() => {
      expect(unwanted).toEqual(['b']);
    });
    await session.close();
  });

  it('says for how long there has been no session', async () => {
    const controller = fakeController();
    let nowMs = 1_000;
    const clock = { now: () => ({ monoMs: monoMs(nowMs), wallMs: wallMs(0) }) };
    const session = startSession(ports(controller, { clock }));
    nowMs = 4_000;
    expect(session.cutOffForMs()).toBe(3_000);
    await vi.waitFor(() => {
      expect(controller.streams).toHaveLength(1);
    });
    expect(session.cutOffForMs()).toBe(3_000);
    controller.streams[0]?.say.push(welcome(1));
    await vi.waitFor(() => {
      expect(session.cutOffForMs()).toBeUndefined();
    });
    nowMs = 9_000;
    controller.streams[0]?.say.close();
    await vi.waitFor(() => {
      expect(session.cutOffForMs()).toBe(0);
    });
    await session.close();
  });

  it('a node that a controller refuses is not cut off', async () => {
    const nowMs = { value: 0 };
    let refusals = 0;
    const session = startSession(
      ports(fakeController(), {
        clock: { now: () => ({ monoMs: monoMs(nowMs.value), wallMs: wallMs(0) }) },
        open: () => {
          refusals += 1;
          nowMs.value += 10_000;
          throw new FrotaError(refusals === 1 ? 'unavailable' : 'forbidden', 'no');
        },
      }),
    );
    expect(session.cutOffForMs()).toBe(10_000);
    await vi.waitFor(() => {
      expect(refusals).toBe(2);
    });
    expect(session.cutOffForMs()).toBe(0);
    await session.close();
  });

  it('backs off when every stream fails right after the welcome', async () => {
    const controller = fakeController();
    const session = startSession(
      ports(controller, { onUnit: () => Promise.reject(new Error('cannot')), random: () => 1 }),
    );
    const feed = setInterval(() => {
      const stream = controller.streams.at(-1);
      if (stream?.sent.length !== 1) return;
      stream.say.push(welcome(1));
      stream.say.push({ kind: 'unit', key: 'tasks', unit: { revision: 'r', unit: { kind: 'tasks', tasks: [] } } });
    }, 5);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    clearInterval(feed);
    // 100, 200, 400, 800 ms: at most five streams in a second.
    expect(controller.streams.length).toBeLessThanOrEqual(5);
    await session.close();
  });

  it('refuses a controller of an older epoch', async () => {
    await assignments.welcome({
      nodeId: 'node1',
      nodeName: 'n1',
      subnet: '10.64.0.0/24',
      epoch: 5,
      insecureRegistries: [],
    });
    const controller = fakeController();
    const session = startSession(ports(controller));
    await vi.waitFor(() => {
      expect(controller.streams.length).toBe(1);
    });
    controller.streams[0]?.say.push(welcome(4));
    controller.streams[0]?.say.push({
      kind: 'unit',
      key: 'tasks',
      unit: { revision: 'r', unit: { kind: 'tasks', tasks: [] } },
    });
    await vi.waitFor(() => {
      expect(controller.streams.length).toBeGreaterThan(1);
    });
    expect(assignments.tasks()).toBeUndefined();
    expect(assignments.self()?.epoch).toBe(5);
    await session.close();
  });

  it('keeps units across a restart, and forgets those that were removed', async () => {
    await assignments.put('tasks', { revision: 'r1', unit: { kind: 'tasks', tasks: [] } });
    await assignments.put('service:a/b', {
      revision: 'r2',
      unit: {
        kind: 'service',
        stack: 'a',
        name: 'b',
        vip: '10.80.0.1',
        ports: [],
        endpoints: [],
        members: [],
        networks: [],
      },
    });
    await assignments.remove('tasks');
    const again = await loadAssignments(createJournal(folder, silentLogger), silentLogger);
    expect(again.held()).toEqual([{ key: 'service:a/b', revision: 'r2' }]);
    expect(again.services()).toHaveLength(1);
  });

  it('turns times into durations, never negative', () => {
    expect(toReport(running, 1_000)).toMatchObject({ sinceAgoMs: 100, startedAgoMs: 200 });
    expect(toReport(running, 100)).toMatchObject({ sinceAgoMs: 0, startedAgoMs: 0 });
  });
});
