import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { TaskLeases } from '../../../agent/fencing/task-leases.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { aTemplate } from '../../builders/domain.ts';
import { assignedTask } from '../../fakes/agent-ports.ts';

const leaseMs = 10_000;
const task = assignedTask('t1', { fence: 4, template: aTemplate({ fenceLeaseMs: leaseMs }) });
const never = new AbortController().signal;

/** A node whose boot clock and guard the test moves. */
class Node {
  bootMs = 1_000;
  connected = true;
  awake = true;
  /** Whether a guard can be started. */
  startable = true;
  readonly asked: number[] = [];
  readonly killed: string[] = [];
  readonly files = new Map<string, number>();
  stops = 0;
  readonly leases: TaskLeases;

  constructor(files: Readonly<Record<string, number>> = {}) {
    for (const [id, untilMs] of Object.entries(files)) this.files.set(id, untilMs);
    this.leases = new TaskLeases({
      files: {
        read: () => new Map(this.files),
        write: (id, untilMs) => void this.files.set(id, untilMs),
        remove: (id) => void this.files.delete(id),
      },
      guard: this.guard(),
      assigned: () => [task, assignedTask('plain')],
      ask: (number) => {
        if (this.connected) this.asked.push(number);
        return this.connected;
      },
      kill: (id) => Promise.resolve(void this.killed.push(id)),
      bootMs: () => this.bootMs,
      logger: silentLogger,
    });
  }

  private guard() {
    const isAwake = (): boolean => this.awake;
    return {
      get isAwake() {
        return isAwake();
      },
      confirm: () => {
        this.awake = this.startable;
        return Promise.resolve(this.startable);
      },
      stop: () => Promise.resolve(void (this.stops += 1)),
    };
  }

  grant(number: number, taskIds = ['t1']): void {
    this.leases.granted({ kind: 'lease', number, taskIds });
  }
}

describe('the leases of a node', () => {
  const nodes: Node[] = [];
  const node = (...files: ConstructorParameters<typeof Node>): Node => {
    const made = new Node(...files);
    nodes.push(made);
    return made;
  };
  beforeEach(() => vi.useFakeTimers());
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map(({ leases }) => leases.close()));
    vi.useRealTimers();
  });

  it('count from when the question was sent, not from its answer', async () => {
    const host = node();
    const armed = host.leases.arm(task, never);
    host.bootMs = 5_000;
    host.grant(1);
    await vi.advanceTimersByTimeAsync(60);
    await armed;
    expect(host.files.get('t1')).toBe(1_000 + leaseMs);
    expect(host.leases.holds('t1')).toBe(true);
    host.bootMs = 1_000 + leaseMs;
    expect([host.leases.holds('t1'), host.leases.hasEnded('t1')]).toEqual([false, true]);
  });

  it('are asked for four times in a lease, and an answer for another task or an unknown question is none', () => {
    const host = node();
    host.leases.tick();
    host.bootMs += leaseMs / 4 - 1;
    host.leases.tick();
    expect(host.asked).toEqual([1]);
    host.bootMs += 1;
    host.leases.tick();
    expect(host.asked).toEqual([1, 2]);
    host.grant(1, ['t2']);
    host.grant(7);
    expect(host.leases.hasEnded('t1')).toBe(false);
    host.bootMs += 10 * leaseMs;
    expect(host.leases.hasEnded('t1')).toBe(false);
  });

  it('never end earlier because an older answer comes later', () => {
    const host = node({ t1: 500 });
    host.leases.tick();
    host.bootMs += leaseMs / 4;
    host.leases.tick();
    host.grant(2);
    host.grant(1);
    expect(host.files.get('t1')).toBe(1_000 + leaseMs / 4 + leaseMs);
  });

  it('let a task wait for as long as no controller answers, and until it is no longer wanted', async () => {
    const host = node();
    host.connected = false;
    const abort = new AbortController();
    const armed = host.leases.arm(task, abort.signal);
    const failed = expect(armed).rejects.toThrow('no longer wanted');
    await vi.advanceTimersByTimeAsync(60_000);
    expect([host.files.size, host.leases.holds('t1')]).toEqual([0, false]);
    abort.abort();
    await failed;
  });

  it('start nothing without a guard', async () => {
    const host = node();
    host.startable = false;
    host.leases.tick();
    host.grant(1);
    await expect(host.leases.arm(task, never)).rejects.toThrow('no guard');
  });

  it('are taken over from an earlier agent; a guard that is gone is started anew, else the tasks are killed', async () => {
    const host = node({ t1: 9_000 });
    expect([host.leases.isGuarded('t1'), host.leases.holds('t1')]).toEqual([true, true]);
    host.awake = false;
    host.leases.tick();
    await vi.advanceTimersByTimeAsync(10);
    expect([host.awake, host.killed]).toEqual([true, []]);
    host.awake = false;
    host.startable = false;
    host.leases.tick();
    await vi.advanceTimersByTimeAsync(10);
    expect(host.killed).toContain('t1');
  });

  it('end the guard with the last task', async () => {
    const host = node({ t1: 9_000, t2: 9_000 });
    await host.leases.release('t1');
    expect(host.stops).toBe(0);
    await host.leases.release('t2');
    expect([host.stops, host.files.size]).toEqual([1, 0]);
  });
});
