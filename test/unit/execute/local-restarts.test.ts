import { afterEach, describe, expect, it, vi } from 'vitest';
import { LocalRestarts } from '../../../agent/execute/local-restarts.ts';
import { NodeTasks } from '../../../agent/execute/node-tasks.ts';
import type { TaskRecord } from '../../../agent/execute/ports.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { AssignedTask, ServiceUnit } from '../../../proto/domain/assignment.ts';
import { assignedTask, fakeHost } from '../../fakes/agent-ports.ts';
import type { FakeHost } from '../../fakes/agent-ports.ts';

const restart = { policy: { condition: 'any', delayMs: 0 }, attempt: 0, quickFailures: 0, restarts: 0, restartedBeforeMs: [] } as const; // prettier-ignore
const web = (over: Partial<AssignedTask> = {}): AssignedTask => assignedTask('a', { restart, ...over });

class Agent {
  readonly tasks: NodeTasks;
  readonly restarts: LocalRestarts;
  readonly host: FakeHost;
  cutOffMs: number | undefined;
  woken = 0;

  private constructor(host: FakeHost, tasks: NodeTasks, afterMs: number, cutOffMs: number | undefined, prefix: string) {
    this.host = host;
    this.tasks = tasks;
    this.cutOffMs = cutOffMs;
    let made = 0;
    this.restarts = new LocalRestarts({
      tasks,
      nodeId: 'n1',
      cutOffForMs: () => this.cutOffMs,
      afterMs,
      onEndpoints: () => (this.woken += 1),
      lookEveryMs: 10,
      newId: () => `${prefix}${String((made += 1))}`,
      clock: host.ports.clock,
      logger: host.ports.logger,
    });
  }

  static async start(
    host: FakeHost,
    { wanted = [], cutOffMs, afterMs = 5_000, prefix = 'own' }: { wanted?: readonly AssignedTask[]; cutOffMs?: number; afterMs?: number; prefix?: string } = {},
  ): Promise<Agent> {
    const listeners: LocalRestarts[] = [];
    const tasks = new NodeTasks({
      ...host.ports,
      onStatus: (status) => {
        host.ports.onStatus(status);
        for (const each of listeners) each.noticed(status);
      },
    });
    await tasks.adopt(wanted);
    const agent = new Agent(host, tasks, afterMs, cutOffMs, prefix);
    listeners.push(agent.restarts);
    await tasks.assign(wanted);
    return agent;
  } // prettier-ignore

  state(id: string): string | undefined {
    return this.tasks.statuses().find(({ taskId }) => taskId === id)?.state;
  }

  async close(): Promise<void> {
    await this.restarts.close();
    await this.tasks.close();
  }
}

const agents: Agent[] = [];
afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.close();
});
async function agentOf(host: FakeHost, options: Parameters<typeof Agent.start>[1] = {}): Promise<Agent> {
  const agent = await Agent.start(host, options);
  agents.push(agent);
  return agent;
}

/** `a` runs, a controller has confirmed it. */
async function running(options: { afterMs?: number; task?: AssignedTask } = {}): Promise<Agent> {
  const { task = web(), ...rest } = options;
  const agent = await agentOf(fakeHost(), { wanted: [task], ...rest });
  agent.tasks.confirm();
  await becomes(agent, 'a', 'running');
  return agent;
}
const becomes = (agent: Agent, id: string, state: string) =>
  vi.waitFor(() => {
    expect(agent.state(id)).toBe(state);
  });
/** Long enough for a few looks. */
const aLook = () => new Promise((resolve) => setTimeout(resolve, 100));

async function replaced(): Promise<Agent> {
  const agent = await running();
  agent.cutOffMs = 6_000;
  await aLook();
  agent.host.exit('a', 1);
  await becomes(agent, 'own1', 'running');
  return agent;
}

describe('a node that no controller reaches', () => {
  it('puts a new attempt in the place of what ended, durable before it begins', async () => {
    const agent = await replaced();
    expect(agent.state('a')).toBe('failed');
    const record = agent.host.records.get('tasks/own1') as TaskRecord;
    expect(record).toMatchObject({ local: { replaces: ['a'] }, assigned: { id: 'own1', slot: 1, service: 'web' } });
    expect(agent.tasks.localAttempt('own1')).toMatchObject({ replaces: ['a'], attempt: 1, restarts: 1 });
    expect([...agent.host.containers.keys()]).toEqual(['own1']);
  });

  it('keeps the secrets of what ended while its slot may go on, and no longer', async () => {
    const agent = await running();
    agent.host.mounted.add('a');
    agent.cutOffMs = 6_000;
    agent.host.exit('a', 1);
    await becomes(agent, 'own1', 'running');
    await vi.waitFor(() => {
      expect(agent.host.attachments.has('a')).toBe(false);
    });
    expect([...agent.host.mounted]).toEqual(['a']);
    await agent.tasks.assign([web({ id: 'own1' })]);
    await vi.waitFor(() => {
      expect([...agent.host.mounted]).toEqual([]);
    });
  });

  it('waits until it has been cut off for long enough, and never acts where that is never', async () => {
    const agent = await running();
    const never = await running({ afterMs: Infinity });
    agent.cutOffMs = 4_000;
    never.cutOffMs = 1e9;
    for (const each of [agent, never]) each.host.exit('a', 1);
    await aLook();
    expect(agent.tasks.statuses()).toHaveLength(1);
    expect(never.tasks.statuses()).toHaveLength(1);
    agent.cutOffMs = 5_000;
    await becomes(agent, 'own1', 'running');
  });

  it.each([
    ['has no rule', assignedTask('a')],
    ['is fenced', web({ template: { ...web().template, fenceLeaseMs: 10_000 } })],
    ['has a policy that wants no other', web({ restart: { ...restart, policy: { condition: 'none' } } })],
  ])('leaves a task that %s', async (_what, task) => {
    const agent = await running({ task });
    agent.cutOffMs = 6_000;
    agent.host.exit('a', 1);
    await aLook();
    expect(agent.tasks.statuses().map(({ taskId }) => taskId)).toEqual(['a']);
  });

  it('goes on from attempt to attempt, and keeps of its own only the latest', async () => {
    const agent = await replaced();
    agent.host.exit('own1', 1);
    await becomes(agent, 'own2', 'running');
    expect(agent.tasks.localAttempt('own2')).toMatchObject({ replaces: ['own1', 'a'], attempt: 2, restarts: 2 });
    await vi.waitFor(() => {
      expect([...agent.host.records.keys()].sort()).toEqual(['tasks/a', 'tasks/own2']);
    });
  });

  it('begins nothing that it can’t record', async () => {
    const agent = await running();
    agent.cutOffMs = 6_000;
    agent.host.exit('a', 1);
    await becomes(agent, 'a', 'failed');
    agent.host.failing.set('put', new FrotaError('exhausted', 'no space left on the disk'));
    await aLook();
    agent.host.failing.delete('put');
    await vi.waitFor(() => {
      expect(agent.tasks.statuses().find(({ taskId }) => taskId !== 'a')?.state).toBe('running');
    });
    expect(agent.host.containers.size).toBe(1);
  });

  it('an agent that starts again goes on with its own attempt, and makes no second one', async () => {
    const before = await replaced();
    await before.close();
    const agent = await agentOf(before.host, { wanted: [web()], cutOffMs: 0, prefix: 'later' });
    expect(agent.state('own1')).toBe('running');
    agent.cutOffMs = 6_000;
    await aLook();
    expect(agent.tasks.statuses().map(({ taskId }) => taskId).sort()).toEqual(['a', 'own1']);
    agent.host.exit('own1', 1);
    await becomes(agent, 'later1', 'running');
    expect(agent.tasks.localAttempt('later1')?.replaces).toEqual(['own1', 'a']);
  }); // prettier-ignore

  it('one that was recorded and not begun is begun by the next agent, once that is cut off for long enough', async () => {
    const before = await running();
    before.cutOffMs = 6_000;
    before.host.pullGate = new Promise(() => undefined);
    before.host.exit('a', 1);
    await becomes(before, 'own1', 'preparing');
    await before.close();
    before.host.pullGate = undefined;
    const agent = await agentOf(before.host, { wanted: [web()], cutOffMs: 0, prefix: 'later' });
    agent.tasks.confirm();
    await aLook();
    expect(agent.state('own1')).toBe('accepted');
    agent.cutOffMs = 6_000;
    await becomes(agent, 'own1', 'running');
  });
});

describe('when the controller is back', () => {
  it('what it assigns runs on, as any other task', async () => {
    const agent = await replaced();
    agent.cutOffMs = undefined;
    await agent.tasks.assign([web({ desired: 'shutdown' }), web({ id: 'own1' })]);
    expect(agent.tasks.localAttempt('own1')).toBeUndefined();
    expect(agent.host.records.get('tasks/own1')).not.toHaveProperty('local');
    await agent.tasks.assign([web({ id: 'own1' })]);
    await vi.waitFor(() => {
      expect(agent.tasks.statuses().map(({ taskId, state }) => [taskId, state])).toEqual([['own1', 'running']]);
    });
    await agent.tasks.assign([]);
    await vi.waitFor(() => {
      expect(agent.host.containers.size).toBe(0);
    });
  });

  it('nothing happens to it before the controller has decided', async () => {
    const agent = await replaced();
    agent.cutOffMs = undefined;
    await agent.tasks.assign([web()]);
    agent.tasks.confirm();
    await agent.tasks.assign([]);
    await aLook();
    expect(agent.state('own1')).toBe('running');
    expect(agent.host.containers.has('own1')).toBe(true);
  });

  it('what it refuses is stopped and removed, and what it assigns instead is begun', async () => {
    const agent = await replaced();
    agent.cutOffMs = undefined;
    await agent.tasks.assign([web({ id: 'own0', slot: 2 })]);
    await agent.tasks.refuse(['own1', 'own0', 'nobody']);
    await vi.waitFor(() => {
      expect(agent.tasks.statuses().map(({ taskId, state }) => [taskId, state])).toEqual([['own0', 'running']]);
    });
    expect([...agent.host.records.keys()]).toEqual(['tasks/own0']);
  });

  it('a task that its own attempt has replaced is not begun again meanwhile', async () => {
    const agent = await replaced();
    agent.host.exit('own1', 1);
    await becomes(agent, 'own2', 'running');
    agent.cutOffMs = undefined;
    // A controller that had heard of the first attempt, just before the link was cut again.
    await agent.tasks.assign([web({ id: 'own1' })]);
    await aLook();
    expect(agent.state('own1')).toBeUndefined();
    expect([...agent.host.containers.keys()]).toEqual(['own2']);
    await agent.tasks.refuse(['own2']);
    await becomes(agent, 'own1', 'running');
  });
});

describe('names, VIPs and ports of the node', () => {
  const unit = (...taskIds: readonly string[]): ServiceUnit => {
    const endpoints = taskIds.map((taskId) => ({ taskId, nodeId: 'n1', address: '10.64.0.9', slot: 1 }));
    return { kind: 'service', stack: 'app', name: 'web', vip: '10.80.0.1', ports: [], networks: [], endpoints, members: endpoints }; // prettier-ignore
  };
  const led = (agent: Agent, ...taskIds: readonly string[]) =>
    agent.restarts.services([unit(...taskIds)]).flatMap(({ endpoints }) => endpoints.map(({ taskId }) => taskId));

  it('lead to the new attempt until a unit shows it, then as the units say', async () => {
    const agent = await replaced();
    expect(led(agent, 'a', 'far')).toEqual(['far', 'own1']);
    expect(agent.woken).toBeGreaterThan(0);
    agent.cutOffMs = undefined;
    await agent.tasks.assign([web({ id: 'own1' })]);
    // Assigned, and its status is not everywhere yet.
    expect(led(agent, 'far')).toEqual(['far', 'own1']);
    expect(led(agent, 'far', 'own1')).toEqual(['far', 'own1']);
    // It leaves: what the controller says counts.
    expect(led(agent, 'far')).toEqual(['far']);
  });

  it('lead to no task that has ended, while nothing replaces it', async () => {
    const agent = await running({ task: web({ restart: { ...restart, policy: { condition: 'any', delayMs: 60_000 } } }) });
    agent.cutOffMs = 6_000;
    agent.host.exit('a', 1);
    await becomes(agent, 'a', 'failed');
    await aLook();
    expect(led(agent, 'a', 'far')).toEqual(['far']);
  }); // prettier-ignore
});
