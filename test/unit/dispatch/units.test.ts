import { describe, expect, it } from 'vitest';
import { checkFacts, takeReports } from '../../../controller/dispatch/intake.ts';
import { unitsOf, unitsOfNode } from '../../../controller/dispatch/units.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import type { Task, TaskStatus } from '../../../proto/domain/task.ts';
import { aServiceSpec, aStack, aTemplate } from '../../builders/domain.ts';

const template: Task['template'] = {
  image: { reference: 'r/web:1', digest: `sha256:${'0'.repeat(64)}` },
  environment: {},
  labels: {},
  limits: {},
  reservations: { cpuMillis: 0, memoryBytes: 0 },
  stopGracePeriodMs: 10_000,
  drainDelayMs: 0,
  mounts: [],
  files: [],
  networks: [{ network: 's_default', aliases: [] }],
  generation: 0,
};

const task = (id: string, over: Partial<Task> = {}): Task => ({
  id, stack: 's', service: 'web', slot: 1, template, templateHash: 'h', nodeId: 'n1', desired: 'running',
  attempt: 0, quickFailures: 0, restarts: 0, restartedAtMs: [], createdAtMs: 0, ...over,
}); // prettier-ignore

const running = (taskId: string, over: Partial<TaskStatus> = {}): TaskStatus => ({
  taskId, state: 'running', health: 'none', sinceMs: 5, startedAtMs: 5, address: `10.64.0.${taskId.length}`, ...over,
}); // prettier-ignore

/** Service → the networks it declares. */
const stackOf = (services: Readonly<Record<string, readonly string[]>>) =>
  aStack('s', Object.entries(services).map(([name, networks]) => aServiceSpec({ name, template: on(...networks) }))); // prettier-ignore

const on = (...networks: readonly string[]) =>
  aTemplate({ networks: networks.map((network) => ({ network, aliases: [] })) });

function snapshot(tasks: readonly Task[], statuses: readonly TaskStatus[]): Snapshot {
  const stored = <T>(value: T) => ({ value, modRevision: 1 });
  const node = (id: string) => [id, stored({ id, name: id, availability: 'active' as const, subnet: '10.64.0.0/24', joinedAtMs: 0, labels: {} })] as const; // prettier-ignore
  const facts = (nodeId: string) => [nodeId, { nodeId, address: '10.0.0.1', livenessPort: 1, capacity: { cpuMillis: 1, memoryBytes: 1 }, architecture: 'amd64', os: 'linux', agentVersion: '0' }] as const; // prettier-ignore
  const service = (name: string, ports: boolean) => [`s/${name}`, stored({ stack: 's', name, vip: '10.80.0.1', released: true, pins: [], ports: ports ? [{ target: 80, published: 8080, protocol: 'tcp' as const }] : [] })] as const; // prettier-ignore
  return {
    revision: 1, containerPool: '10.64.0.0/12', vipPool: '10.80.0.0/16', contents: new Map(), keptPins: new Map(),
    stacks: new Map([['s', stored(stackOf({ web: ['s_default'], counter: ['s_default'] }))]]),
    services: new Map([service('web', true), service('counter', false)]),
    tasks: new Map(tasks.map((each) => [each.id, stored(each)])),
    statuses: new Map(statuses.map((each) => [each.taskId, each])),
    nodes: new Map([node('n1'), node('n2')]), facts: new Map([facts('n1')]),
  }; // prettier-ignore
}

describe('unitsOf', () => {
  it('gives a node its tasks until they have ended there', () => {
    const tasks = [
      task('a'),
      task('b', { desired: 'shutdown' }),
      task('c'),
      task('d', { orphaned: true, desired: 'shutdown' }),
    ];
    const ended = { ...running('c'), state: 'failed' as const };
    const units = unitsOf(snapshot(tasks, [running('a'), running('b'), ended, running('d')]));
    expect(units.tasks.get('n1')?.tasks.map(({ id, desired }) => [id, desired])).toEqual([
      ['a', 'running'],
      ['b', 'shutdown'],
    ]);
  });

  it('sends traffic only to what runs, is wanted and is well', () => {
    const tasks = [task('a'), task('bb', { desired: 'shutdown' }), task('ccc'), task('dddd'), task('eeeee', { orphaned: true }), task('ffffff')]; // prettier-ignore
    const statuses = [running('a'), running('bb'), running('ccc', { state: 'starting', health: 'starting' }), running('dddd', { health: 'unhealthy' }), running('eeeee'), running('ffffff', { state: 'starting' })]; // prettier-ignore
    const units = unitsOf(snapshot(tasks, statuses));
    const web = units.services.get('s/web');
    expect(web?.endpoints).toEqual([{ taskId: 'a', nodeId: 'n1', address: '10.64.0.1', slot: 1 }]);
    // Who has an address and a process belongs to the networks, whether or not traffic goes there.
    expect(web?.members.map(({ taskId }) => taskId)).toEqual(['a', 'bb', 'ccc', 'dddd']);
    expect(web?.networks).toEqual([{ network: 's_default', aliases: [] }]);
  });

  const names = (seen: Snapshot, nodeId: string) => unitsOfNode(unitsOf(seen), nodeId).map((unit) => (unit.kind === 'service' ? unit.name : unit.kind)); // prettier-ignore

  it('sends published services to all, others to the nodes with a task on one of their networks', () => {
    const seen = snapshot([task('a')], []);
    expect(names(seen, 'n1')).toEqual(['network', 'web', 'counter', 'tasks']);
    expect(names(seen, 'n2')).toEqual(['network', 'web', 'tasks']);
  });

  it('goes by the network and not by the stack', () => {
    const stack = stackOf({ web: ['front'], counter: ['back', 'shared'] });
    const shown = (...networks: readonly string[]) => {
      const seen = snapshot([task('a', { stack: 'other', template: on(...networks) })], []);
      return names({ ...seen, stacks: new Map([['s', { value: stack, modRevision: 1 }]]) }, 'n1');
    };
    expect(shown('shared')).toEqual(['network', 'web', 'counter', 'tasks']);
    expect(shown('s_default')).toEqual(['network', 'web', 'tasks']);
    // Until it has ended, a task keeps the networks it was started with.
    expect(shown('elsewhere', 'back')).toEqual(['network', 'web', 'counter', 'tasks']);
  });

  it('names only nodes that have said where they are as peers', () => {
    expect(unitsOf(snapshot([], [])).network.peers.map((peer) => peer.nodeId)).toEqual(['n1']);
  });
});

describe('takeReports', () => {
  const report = (state: TaskStatus['state'], over: object = {}) => ({
    status: { taskId: 'a', state, health: 'none' as const, ...over },
    sinceAgoMs: 100,
    startedAgoMs: 50,
  });

  it('stores running and ends, remembers the rest, and places durations on its own clock', () => {
    const seen = snapshot([task('a')], []);
    expect(takeReports(seen, 'n1', [report('preparing')], 1_000).remember[0]).toMatchObject({ sinceMs: 900 });
    const intake = takeReports(seen, 'n1', [report('preparing'), report('running')], 1_000);
    expect(intake.remember).toEqual([]);
    expect(intake.store[0]).toMatchObject({ state: 'running', sinceMs: 900, startedAtMs: 950, ranAtMs: 900 });
  });

  it('takes nothing backwards, nothing twice, nothing from another node', () => {
    const seen = snapshot([task('a')], [running('a', { address: '10.64.0.1' })]);
    const again = report('running', { address: '10.64.0.1' });
    expect(takeReports(seen, 'n1', [report('preparing'), again], 1_000)).toEqual({ store: [], remember: [] });
    expect(takeReports(seen, 'n2', [report('failed')], 1_000)).toEqual({ store: [], remember: [] });
    const over = snapshot([task('a')], [{ ...running('a'), state: 'failed' }]);
    expect(takeReports(over, 'n1', [report('running'), report('complete')], 1_000)).toEqual({
      store: [],
      remember: [],
    });
  });

  it('believes of a node only what can be: times within the task’s life, an address of its own subnet', () => {
    const seen = snapshot([task('a', { createdAtMs: 400 })], []);
    const wild = { ...report('running', { address: '8.8.8.8', reason: 'x'.repeat(5_000) }), sinceAgoMs: -5, startedAgoMs: 9e15 }; // prettier-ignore
    const [status] = takeReports(seen, 'n1', [wild], 1_000).store;
    expect(status).toMatchObject({ sinceMs: 1_000, startedAtMs: 400 });
    expect(status?.address).toBeUndefined();
    expect(status?.reason).toHaveLength(1_024);
    const own = takeReports(seen, 'n1', [report('running', { address: '10.64.0.9' })], 1_000).store[0];
    expect(own?.address).toBe('10.64.0.9');
  });

  it('refuses facts that others could not use', () => {
    const facts = { nodeId: 'n1', address: '10.0.0.1', livenessPort: 7403, capacity: { cpuMillis: 1, memoryBytes: 1 }, architecture: 'amd64', os: 'linux', agentVersion: '0' }; // prettier-ignore
    expect(() => {
      checkFacts(facts);
    }).not.toThrow();
    for (const wrong of [
      { address: 'host.example' },
      { livenessPort: 70_000 },
      { livenessPort: 0 },
      { capacity: { cpuMillis: -1, memoryBytes: 0 } },
    ]) {
      expect(() => {
        checkFacts({ ...facts, ...wrong });
      }, JSON.stringify(wrong)).toThrow(/must be|negative/);
    }
  });

  it('keeps the start that was first told', () => {
    const seen = snapshot([task('a')], [running('a', { startedAtMs: 7, ranAtMs: 9 })]);
    expect(takeReports(seen, 'n1', [report('failed', { exitCode: 1 })], 1_000).store[0]).toMatchObject({
      startedAtMs: 7,
      ranAtMs: 9,
      exitCode: 1,
    });
  });
});
