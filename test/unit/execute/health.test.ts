import { describe, expect, it, vi } from 'vitest';
import { checksAtOnce, createCheckTurns, turnMs } from '../../../agent/execute/check-turns.ts';
import { NodeTasks } from '../../../agent/execute/node-tasks.ts';
import type { TaskRecord } from '../../../agent/execute/ports.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { CapturedExec } from '../../../agent/runtime/runtime.ts';
import type { AssignedTask } from '../../../proto/domain/assignment.ts';
import type { HealthCheck } from '../../../proto/domain/health.ts';
import { assignedTask, fakeHost } from '../../fakes/agent-ports.ts';
import type { FakeHost } from '../../fakes/agent-ports.ts';

const ok: CapturedExec = { kind: 'exited', exitCode: 0, output: '' };
const bad: CapturedExec = { kind: 'exited', exitCode: 1, output: 'connection refused\n' };
const often: HealthCheck = { test: ['CMD', 'probe'], intervalMs: 10, retries: 2, startIntervalMs: 10 };

/** Fails as long as a test likes without becoming unhealthy. */
const patient: HealthCheck = { ...often, retries: 1_000 };

function checked(healthCheck: HealthCheck | undefined, over: Partial<AssignedTask> = {}): AssignedTask {
  const { template } = assignedTask('a');
  return assignedTask('a', {
    template: { ...template, ...(healthCheck === undefined ? {} : { healthCheck }) },
    ...over,
  });
}

async function assigned(host: FakeHost, task: AssignedTask): Promise<NodeTasks> {
  const tasks = new NodeTasks(host.ports);
  await tasks.adopt([]);
  tasks.confirm();
  await tasks.assign([task]);
  return tasks;
}

const last = (host: FakeHost) => host.statuses.at(-1);
const becomes = (host: FakeHost, expected: object) =>
  vi.waitFor(() => {
    expect(last(host)).toMatchObject(expected);
  });
const recordOf = (host: FakeHost): TaskRecord => host.records.get('tasks/a') as TaskRecord;

describe('a task with a health check', () => {
  it('is starting until its first success, then running, and its neighbours’ health is none', async () => {
    const host = fakeHost();
    let answer = bad;
    host.captured = () => Promise.resolve(answer);
    const tasks = await assigned(host, checked(patient));
    await becomes(host, {
      state: 'starting',
      health: 'starting',
      reason: 'its health check has not succeeded yet: exit code 1: connection refused',
    });
    expect(last(host)?.startedAtMs).toBe(7);
    answer = ok;
    await becomes(host, { state: 'running', health: 'healthy' });
    expect(last(host)?.reason).toBeUndefined();
    expect(host.statuses.filter(({ state }) => state === 'running')).toHaveLength(1);
    await tasks.close();
  });

  it('runs within a moment when the check succeeds at once, whatever the interval', async () => {
    const host = fakeHost();
    host.captured = () => Promise.resolve(ok);
    const tasks = await assigned(host, checked({ test: ['CMD', 'probe'], intervalMs: 60_000 }));
    await vi.waitFor(() => {
      expect(host.calls).toContain('start');
    });
    const startedAtMs = performance.now();
    await becomes(host, { state: 'running', health: 'healthy' });
    expect(performance.now() - startedAtMs).toBeLessThan(150);
    await tasks.close();
  });

  it('becomes unhealthy, with what the last check said, and healthy again', async () => {
    const host = fakeHost();
    let answer = ok;
    host.captured = () => Promise.resolve(answer);
    const tasks = await assigned(host, checked(often));
    await becomes(host, { state: 'running', health: 'healthy' });
    answer = bad;
    await becomes(host, {
      state: 'running',
      health: 'unhealthy',
      reason: 'unhealthy: 2 checks failed, the last: exit code 1: connection refused',
    });
    answer = ok;
    await becomes(host, { state: 'running', health: 'healthy' });
    expect(last(host)?.reason).toBeUndefined();
    await tasks.close();
  });

  it('is unhealthy and still starting if it never succeeds', async () => {
    const host = fakeHost();
    host.captured = () => Promise.reject(new FrotaError('invalid', 'no /bin/sh in the image'));
    const tasks = await assigned(host, checked({ ...often, test: ['CMD-SHELL', 'true'] }));
    await becomes(host, { state: 'starting', health: 'unhealthy' });
    expect(last(host)?.reason).toContain('it cannot be run: no /bin/sh in the image');
    await tasks.close();
  });

  it('is checked as its image says, in the fields the service leaves open', async () => {
    const host = fakeHost();
    const seen: (readonly string[])[] = [];
    host.healthCheck = { test: ['CMD-SHELL', 'probe --all'], intervalMs: 60_000 };
    host.captured = (_id, args) => {
      seen.push(args);
      return Promise.resolve(ok);
    };
    const tasks = await assigned(host, checked({ intervalMs: 10 }));
    await vi.waitFor(() => {
      expect(seen.length).toBeGreaterThan(2);
    });
    expect(seen[0]).toEqual(['/bin/sh', '-c', 'probe --all']);
    await tasks.close();
  });

  it('has one check at a time, and none after its end', async () => {
    const host = fakeHost();
    let [running, most, begun] = [0, 0, 0];
    host.captured = async () => {
      running += 1;
      begun += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 15));
      running -= 1;
      return ok;
    };
    const tasks = await assigned(host, checked({ ...often, intervalMs: 1 }));
    await vi.waitFor(() => {
      expect(begun).toBeGreaterThan(3);
    });
    expect(most).toBe(1);
    host.exit('a', 0);
    await becomes(host, { state: 'complete' });
    const atEnd = begun;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(begun).toBe(atEnd);
    await tasks.close();
  });

  it('ends a check that hangs when it is stopped, and when the agent ends', async () => {
    const host = fakeHost();
    let aborted = 0;
    host.captured = (_id, _args, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          aborted += 1;
          reject(new FrotaError('cancelled', 'aborted'));
        });
      });
    const tasks = await assigned(host, checked(often));
    await becomes(host, { state: 'starting', startedAtMs: 7 });
    await tasks.assign([checked(often, { desired: 'shutdown' })]);
    await becomes(host, { state: 'shutdown' });
    expect(aborted).toBe(1);
    expect(host.statuses.some(({ health }) => health === 'unhealthy')).toBe(false);
    await tasks.close();

    const other = fakeHost();
    other.captured = host.captured;
    const again = await assigned(other, checked(often));
    await becomes(other, { state: 'starting', startedAtMs: 7 });
    await again.close();
    expect(aborted).toBe(2);
  });

  it('goes on being checked while it drains, and nothing of it is told', async () => {
    const host = fakeHost();
    let [answer, begun] = [ok, 0];
    host.captured = () => {
      begun += 1;
      return Promise.resolve(answer);
    };
    const tasks = await assigned(host, checked(often));
    await becomes(host, { state: 'running', health: 'healthy' });
    await tasks.assign([checked(often, { desired: 'draining' })]);
    answer = bad;
    const before = begun;
    await vi.waitFor(() => {
      expect(begun).toBeGreaterThan(before + 4);
    });
    expect(last(host)).toMatchObject({ state: 'running', health: 'healthy' });
    await tasks.close();
  });
});

describe('adoption', () => {
  async function left(host: FakeHost, answer: CapturedExec, becomesFirst: object, check = often) {
    host.captured = () => Promise.resolve(answer);
    const first = await assigned(host, checked(check));
    await becomes(host, becomesFirst);
    await vi.waitFor(() => {
      expect(recordOf(host).health?.health).toBe(last(host)?.health);
    });
    await first.close();
  }

  it('of one that was healthy: it runs, healthy, and is checked on', async () => {
    const host = fakeHost();
    await left(host, ok, { state: 'running', health: 'healthy' });
    const second = new NodeTasks(host.ports);
    await second.adopt([checked(often)]);
    expect(second.statuses()).toMatchObject([{ state: 'running', health: 'healthy' }]);
    host.captured = () => Promise.resolve(bad);
    await vi.waitFor(() => {
      expect(second.statuses()).toMatchObject([{ state: 'running', health: 'unhealthy' }]);
    });
    // The image was not asked for again: its part of the check is journaled.
    expect(host.calls.filter((call) => call === 'ensure')).toHaveLength(1);
    await second.close();
  });

  it('of one that was unhealthy: it stays so, with its reason, until a check succeeds', async () => {
    const host = fakeHost();
    await left(host, ok, { state: 'running', health: 'healthy' });
    host.records.set('tasks/a', {
      ...recordOf(host),
      health: { health: 'unhealthy', hasPassed: true, failures: 2, countedFailures: 2, why: 'exit code 1' },
    });
    let answer = bad;
    host.captured = () => Promise.resolve(answer);
    const second = new NodeTasks(host.ports);
    await second.adopt([checked(often)]);
    const expected = {
      state: 'running',
      health: 'unhealthy',
      reason: 'unhealthy: 2 checks failed, the last: exit code 1',
    };
    expect(second.statuses()).toMatchObject([expected]);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(second.statuses()).toMatchObject([expected]);
    answer = ok;
    await vi.waitFor(() => {
      expect(second.statuses()).toMatchObject([{ state: 'running', health: 'healthy' }]);
    });
    await second.close();
  });

  it('of one that was starting: it starts on, and a clock that was set back only makes that longer', async () => {
    const host = fakeHost();
    await left(host, bad, { state: 'starting', health: 'starting', reason: expect.stringContaining('refused') as string }, patient); // prettier-ignore
    host.records.set('tasks/a', { ...recordOf(host), startedAtMs: Date.now() + 3_600_000 });
    host.containers.set('a', { id: 'a', state: { kind: 'running', pid: 1, startedAtMs: Date.now() + 3_600_000 } });
    const second = new NodeTasks(host.ports);
    await second.adopt([checked(often)]);
    expect(second.statuses()).toMatchObject([{ state: 'starting', health: 'starting' }]);
    host.captured = () => Promise.resolve(ok);
    await vi.waitFor(() => {
      expect(second.statuses()).toMatchObject([{ state: 'running', health: 'healthy' }]);
    });
    await second.close();
  });
});

describe('the turns of the checks of a node', () => {
  it('are few at a time', async () => {
    const turns = createCheckTurns();
    let [running, most] = [0, 0];
    const work = async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running -= 1;
    };
    const { signal } = new AbortController();
    await Promise.all(Array.from({ length: 40 }, () => turns.take(work, signal)));
    expect(most).toBe(checksAtOnce);
  });

  it('pass on when those who have them only wait', async () => {
    const turns = createCheckTurns();
    const abort = new AbortController();
    const hang = () =>
      new Promise<void>((resolve) => {
        abort.signal.addEventListener('abort', () => {
          resolve();
        });
      });
    const hanging = Array.from({ length: checksAtOnce }, () => turns.take(hang, abort.signal));
    const beganAtMs = performance.now();
    expect(await turns.take(() => Promise.resolve('done'), abort.signal)).toBe('done');
    expect(performance.now() - beganAtMs).toBeGreaterThan(turnMs - 20);
    expect(performance.now() - beganAtMs).toBeLessThan(turnMs + 400);
    abort.abort();
    await Promise.all(hanging);
  });

  it('are not taken by those who have given up, and hand failures to who asked', async () => {
    const turns = createCheckTurns();
    const gone = new AbortController();
    gone.abort();
    expect(await turns.take(() => Promise.resolve('begun'), gone.signal)).toBeUndefined();
    await expect(turns.take(() => Promise.reject(new Error('went wrong')), new AbortController().signal)).rejects.toThrow('went wrong'); // prettier-ignore
  });
});
