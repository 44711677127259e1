import { describe, expect, it, vi } from 'vitest';
import { NodeTasks } from '../../../agent/execute/node-tasks.ts';
import type { TaskRecord } from '../../../agent/execute/ports.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { AssignedTask } from '../../../proto/domain/assignment.ts';
import { assignedTask, fakeHost } from '../../fakes/agent-ports.ts';
import type { FakeHost } from '../../fakes/agent-ports.ts';

const states = (host: FakeHost): string[] => host.statuses.map((status) => status.state);
const lastState = (host: FakeHost): string | undefined => host.statuses.at(-1)?.state;

async function started(host: FakeHost): Promise<NodeTasks> {
  const tasks = new NodeTasks(host.ports);
  await tasks.adopt([]);
  tasks.confirm();
  return tasks;
}

describe('NodeTasks', () => {
  it('takes a task from accepted to running, durably accepted first', async () => {
    const host = fakeHost();
    const tasks = await started(host);
    await tasks.assign([assignedTask('a')]);
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('running');
    });
    expect(host.calls[0]).toBe('put');
    expect(host.calls.filter((call) => call !== 'put')).toEqual(['ensure', 'attach', 'attach', 'create', 'start']);
    expect([...new Set(states(host))]).toEqual(['accepted', 'preparing', 'ready', 'starting', 'running']);
    expect(host.statuses.at(-1)).toMatchObject({ address: '10.64.0.2', startedAtMs: 7, health: 'none' });
    await tasks.close();
    expect(host.containers.size).toBe(1);
  });

  it('starts nothing before a controller has confirmed', async () => {
    const host = fakeHost();
    const tasks = new NodeTasks(host.ports);
    await tasks.adopt([]);
    await tasks.assign([assignedTask('a')]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(lastState(host)).toBe('accepted');
    tasks.confirm();
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('running');
    });
    await tasks.close();
  });

  it('tells a failed step as the reason, and leaves nothing', async () => {
    const host = fakeHost();
    host.failing.set('create', new FrotaError('invalid', 'exec "nope" not found in image'));
    const tasks = await started(host);
    await tasks.assign([assignedTask('a')]);
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('rejected');
      expect(host.attachments.size).toBe(0);
    });
    expect(host.statuses.at(-1)?.reason).toBe('exec "nope" not found in image');
    await tasks.close();
  });

  it('tells an exit with its code and last output, and keeps the record until the task is dropped', async () => {
    const host = fakeHost();
    const tasks = await started(host);
    await tasks.assign([assignedTask('a')]);
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('running');
    });
    host.exit('a', 3);
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('failed');
      expect(host.containers.size).toBe(0);
    });
    expect(host.statuses.at(-1)).toMatchObject({
      exitCode: 3,
      reason: 'exited with code 3; its last output: last words',
    });
    expect(host.records.has('tasks/a')).toBe(true);
    await tasks.assign([]);
    await vi.waitFor(() => {
      expect(host.records.has('tasks/a')).toBe(false);
    });
    expect(tasks.statuses()).toEqual([]);
    await tasks.close();
  });

  it.each([
    ['the image’s', undefined, 'SIGQUIT'],
    ['the service’s', 'SIGUSR1', 'SIGUSR1'],
  ])('stops with %s signal, then SIGKILL after the grace period', async (_, stopSignal, sent) => {
    const { template } = assignedTask('a');
    const over = { template: { ...template, ...(stopSignal === undefined ? {} : { stopSignal }) } };
    const host = fakeHost();
    const tasks = await started(host);
    await tasks.assign([assignedTask('a', over)]);
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('running');
    });
    await tasks.assign([assignedTask('a', { ...over, desired: 'shutdown' })]);
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('shutdown');
    });
    const kills = host.calls.filter((call) => call.startsWith('kill'));
    expect(kills).toEqual([`kill ${sent}`, 'kill SIGKILL']);
    await tasks.close();
  });

  it('runs on while it is led to, then waits for its drain delay, then stops it', async () => {
    const host = fakeHost();
    const tasks = await started(host);
    const { template } = assignedTask('a');
    const withDelay = (desired: AssignedTask['desired']) =>
      assignedTask('a', { desired, template: { ...template, drainDelayMs: 100 } });
    await tasks.assign([withDelay('running')]);
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('running');
    });
    await tasks.assign([withDelay('draining')]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(host.calls).not.toContain('kill SIGQUIT');
    const leftAtMs = performance.now();
    await tasks.assign([withDelay('shutdown')]);
    await vi.waitFor(() => {
      expect(host.calls).toContain('kill SIGQUIT');
    });
    expect(performance.now() - leftAtMs).toBeGreaterThan(95);
    expect(JSON.stringify(host.records.get('tasks/a'))).toContain('drainedAtMs');
    await tasks.close();
  });

  it('keeps to the drain delay that an earlier agent began, and takes back no stop signal', async () => {
    const host = fakeHost();
    const { template } = assignedTask('a');
    const slow = { ...template, drainDelayMs: 60_000, stopGracePeriodMs: 60_000 };
    const withDelay = (desired: AssignedTask['desired']) => assignedTask('a', { desired, template: slow });
    const first = await started(host);
    await first.assign([withDelay('running')]);
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('running');
    });
    await first.close();
    const record = host.records.get('tasks/a') as TaskRecord;
    host.records.set('tasks/a', { ...record, drainedAtMs: Date.now() - 60_000 });
    const second = new NodeTasks(host.ports);
    await second.adopt([withDelay('shutdown')]);
    await vi.waitFor(() => {
      expect(host.calls).toContain('kill SIGQUIT');
    });
    // A controller that started anew asks all nodes again.
    await second.assign([withDelay('draining')]);
    host.exit('a', 0);
    await vi.waitFor(() => {
      expect(second.statuses()[0]).toMatchObject({ state: 'shutdown', exitCode: 0 });
    });
    await second.close();
  });

  it('tells an end while it is draining as a shutdown, and starts nothing that is', async () => {
    const host = fakeHost();
    const tasks = await started(host);
    await tasks.assign([assignedTask('a')]);
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('running');
    });
    await tasks.assign([assignedTask('a', { desired: 'draining' }), assignedTask('b', { desired: 'draining' })]);
    host.exit('a', 3);
    await vi.waitFor(() => {
      expect(tasks.statuses()).toMatchObject([
        { taskId: 'a', state: 'shutdown', exitCode: 3 },
        { taskId: 'b', state: 'shutdown' },
      ]);
    });
    expect(host.calls.filter((call) => call === 'start')).toHaveLength(1);
    await tasks.close();
  });

  it('breaks off a pull that nobody wants any more', async () => {
    const host = fakeHost();
    host.pullGate = new Promise(() => undefined);
    const tasks = await started(host);
    await tasks.assign([assignedTask('a')]);
    await vi.waitFor(() => {
      expect(host.calls).toContain('ensure');
    });
    await tasks.assign([]);
    await vi.waitFor(() => {
      expect(tasks.statuses()).toEqual([]);
    });
    expect(lastState(host)).toBe('shutdown');
    await tasks.close();
  });

  it('adopts what runs, reports what vanished, removes what nobody explains', async () => {
    const host = fakeHost();
    const first = await started(host);
    await first.assign([assignedTask('a'), assignedTask('b')]);
    await vi.waitFor(() => {
      expect(first.statuses().every((status) => status.state === 'running')).toBe(true);
    });
    await first.close();
    host.containers.delete('b');
    host.containers.set('stray', { id: 'stray', state: { kind: 'running', pid: 9, startedAtMs: 1 } });
    const second = new NodeTasks(host.ports);
    await second.adopt([assignedTask('a'), assignedTask('b')]);
    await vi.waitFor(() => {
      const byId = new Map(second.statuses().map((status) => [status.taskId, status]));
      expect(byId.get('a')).toMatchObject({ state: 'running', startedAtMs: 7 });
      expect(byId.get('b')?.state).toBe('failed');
      expect(byId.get('b')?.reason).toContain('lost power');
    });
    expect(host.containers.has('stray')).toBe(false);
    expect(host.calls.filter((call) => call === 'start')).toHaveLength(2);
    await second.close();
  });

  it('tells what a task waits for while its secrets cannot be fetched, and goes on when they are there', async () => {
    const host = fakeHost();
    let arrive: () => void = () => undefined;
    host.mountGate = (onWait) => {
      onWait('waiting for its configs and secrets: no controller is connected');
      return new Promise((resolve) => {
        arrive = resolve;
      });
    };
    const tasks = await started(host);
    await tasks.assign([assignedTask('a')]);
    await vi.waitFor(() => {
      expect(host.statuses.at(-1)).toMatchObject({ state: 'preparing', reason: expect.stringContaining('no controller is connected') as string }); // prettier-ignore
    });
    expect(host.calls).not.toContain('create');
    arrive();
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('running');
    });
    expect(host.statuses.at(-1)?.reason).toBeUndefined();
    await tasks.close();
  });

  it('stops waiting for secrets of a task that is withdrawn, and keeps no mounts that no record explains', async () => {
    const host = fakeHost();
    host.mountGate = (_onWait, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reject(new FrotaError('cancelled', 'no longer wanted'));
        });
      });
    host.mounted.add('a').add('stray');
    const tasks = await started(host);
    expect([...host.mounted]).toEqual([]);
    host.mounted.add('b');
    await tasks.assign([assignedTask('b')]);
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('preparing');
      expect(host.attachments.size).toBe(1);
    });
    await tasks.assign([]);
    await vi.waitFor(() => {
      expect(tasks.statuses()).toEqual([]);
    });
    expect([...host.mounted]).toEqual([]);
    expect(host.attachments.size).toBe(0);
    await tasks.close();
  });

  it('lets go of a task that is withdrawn while the network cannot be made, and of the agent itself', async () => {
    const host = fakeHost();
    const tasks = new NodeTasks({ ...host.ports, networkReady: () => new Promise(() => undefined) });
    await tasks.adopt([]);
    tasks.confirm();
    await tasks.assign([assignedTask('a'), assignedTask('b')]);
    await vi.waitFor(() => {
      expect(tasks.statuses().every((status) => status.state === 'preparing')).toBe(true);
    });
    await tasks.assign([assignedTask('b')]);
    await vi.waitFor(() => {
      expect(tasks.statuses().map((status) => status.taskId)).toEqual(['b']);
    });
    await tasks.close();
    expect(host.calls).not.toContain('attach');
  });

  it('hears an end that comes while it adopts', async () => {
    const host = fakeHost();
    const first = await started(host);
    await first.assign([assignedTask('a')]);
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('running');
    });
    await first.close();
    const list = host.ports.runtime.list;
    const ports = { ...host.ports, runtime: { ...host.ports.runtime, list: async () => {
      const found = await list();
      // The process ends right after it was seen running.
      queueMicrotask(() => queueMicrotask(() => { host.exit('a', 5); }));
      return found;
    } } }; // prettier-ignore
    const second = new NodeTasks(ports);
    await second.adopt([assignedTask('a')]);
    await vi.waitFor(() => {
      expect(second.statuses()[0]).toMatchObject({ state: 'failed', exitCode: 5 });
    });
    await second.close();
  });

  it('stops nothing when it does not know what is wanted', async () => {
    const host = fakeHost();
    const first = await started(host);
    await first.assign([assignedTask('a')]);
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('running');
    });
    await first.close();
    const second = new NodeTasks(host.ports);
    await second.adopt(undefined);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(second.statuses()[0]?.state).toBe('running');
    expect(host.calls.some((call) => call.startsWith('kill'))).toBe(false);
    await second.close();
  });

  it('keeps a container that runs though its start cannot be journaled, and tells its end though that cannot be either', async () => {
    const host = fakeHost();
    const tasks = await started(host);
    await tasks.assign([assignedTask('a')]);
    await vi.waitFor(() => {
      expect(lastState(host)).toBe('running');
    });
    host.failing.set('put', new FrotaError('exhausted', 'the disk is full'));
    host.exit('a', 0);
    await vi.waitFor(() => {
      expect(host.containers.size).toBe(0);
    }, 3_000);
    expect(lastState(host)).toBe('complete');
    host.failing.clear();
    await vi.waitFor(() => {
      expect(JSON.stringify(host.records.get('tasks/a'))).toContain('complete');
    }, 3_000);
    await tasks.close();
  });

  it('rejects a task it cannot record, because the disk is full', async () => {
    const host = fakeHost();
    const tasks = await started(host);
    host.failing.set('put', new FrotaError('exhausted', 'cannot write: the disk is full'));
    await tasks.assign([assignedTask('a')]);
    await vi.waitFor(() => {
      expect(tasks.statuses()[0]).toMatchObject({ state: 'rejected' });
    });
    expect(tasks.statuses()[0]?.reason).toContain('disk is full');
    host.failing.clear();
    await tasks.assign([]);
    await vi.waitFor(() => {
      expect(tasks.statuses()).toEqual([]);
    });
    await tasks.close();
  });
});
