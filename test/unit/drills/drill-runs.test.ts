/** The order of a drill's steps, and that whatever goes wrong on the way the undo comes next. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { followDrill, runDrill } from '../../../controller/api/drills.ts';
import type { DrillPorts } from '../../../controller/api/drills.ts';
import { DrillRuns } from '../../../controller/drilling/drill-runs.ts';
import type { DrillingPorts } from '../../../controller/drilling/ports.ts';
import { plan } from '../../../controller/plan/plan.ts';
import { monoMs, wallMs } from '../../../proto/base/clock.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import type { DrillAnswer, DrillOrder } from '../../../proto/domain/drill-orders.ts';
import type { Drill, ProbeTally } from '../../../proto/domain/drill.ts';
import type { NodeLiveness, NodeState } from '../../../proto/domain/node.ts';
import { aLiveness, aPlanInput, startMs } from '../../builders/domain.ts';
import { aRequest, aShop } from './world.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const tally = (over: Partial<ProbeTally> = {}): ProbeTally => ({
  ranMs: 1_000,
  sent: 50,
  failed: 0,
  longestGapMs: 20,
  latencyMs: { median: 1, p99: 2 },
  failures: {},
  endpoints: [],
  ...over,
});

/** A cluster that obeys, and writes down what it was told. */
class Cluster {
  readonly said: string[] = [];
  readonly stored: Drill[] = [];
  readonly shop = aShop();
  states: Record<string, NodeState> = {};
  answers: Partial<Record<DrillOrder['kind'], (order: DrillOrder) => DrillAnswer | FrotaError>> = {};
  isUndone = false;
  killed: () => void = () => undefined;
  #listeners = new Set<() => void>();

  liveness = (): ReadonlyMap<string, NodeLiveness> => aLiveness(this.shop, this.states);

  become(node: string, state: NodeState): void {
    this.states = { ...this.states, [`id-${node}`]: state };
    for (const listener of this.#listeners) listener();
  }

  readonly ports: DrillingPorts = {
    snapshot: () => this.shop,
    liveness: this.liveness,
    onChange: (listener) => {
      this.#listeners.add(listener);
      return () => this.#listeners.delete(listener);
    },
    order: (nodeId, order, signal) => {
      if (signal.aborted) return Promise.reject(new FrotaError('cancelled', 'aborted'));
      this.said.push(`${order.kind} ${nodeId}`);
      const answer = (this.answers[order.kind] ?? ((each) => this.#usual(each)))(order);
      return answer instanceof FrotaError ? Promise.reject(answer) : Promise.resolve(answer);
    },
    tellStop: (stop) => {
      this.said.push(`stop ${stop.address}:${String(stop.port)} ${stop.key}`);
      this.isUndone = true;
      return Promise.resolve(true);
    },
    self: {
      arm: () => {
        this.said.push('arm self');
        return Promise.resolve(99);
      },
      kill: () => {
        this.said.push('kill self');
        this.killed();
        return new Promise<never>(() => undefined);
      },
    },
    save: (drill) => {
      this.said.push(`saved ${drill.state}`);
      this.stored.splice(0, 1, drill);
      return Promise.resolve();
    },
    read: () => Promise.resolve([...this.stored]),
    newId: () => 'd1',
    newKey: () => 'key',
    clock: {
      now: () => ({ monoMs: monoMs(performance.now()), wallMs: wallMs(startMs + performance.now()) }),
    },
    logger: silentLogger,
  };

  #usual(order: DrillOrder): DrillAnswer {
    switch (order.kind) {
      case 'arm':
        return { kind: 'armed', agentId: 'a1', stopPort: 4_711 };
      case 'inject':
        return { kind: 'injecting', inMs: 100 };
      case 'undo':
        this.isUndone = true;
        return this.#usual({ kind: 'ask', drillId: 'd1' });
      case 'ask':
        return {
          kind: 'state',
          state: { agentId: 'a1', injected: true, undone: this.isUndone, undoneBy: 'stop', problems: [] },
        };
      case 'probe':
        return { kind: 'probing' };
      case 'count':
        return { kind: 'tally', tally: tally() };
    }
  }

  api(drills: DrillRuns): DrillPorts {
    const planFor: DrillPorts['planFor'] = (liveness) => plan(this.shop, aPlanInput(this.shop, { liveness }));
    return { snapshot: () => this.shop, liveness: this.liveness, drills, planFor, draw: () => 0 };
  }
}

function run(cluster: Cluster, kind: Drill['plan']['kind'] = 'node-loss') {
  const drills = new DrillRuns(cluster.ports);
  const caller = { name: 'ana', signal: new AbortController().signal };
  const leaving = new AbortController();
  const shown: Drill[] = [];
  const done = (async () => {
    const request = { ...aRequest({ kind, forMs: 6_000, slo: 'lost=0,errors<1%' }), dryRun: false };
    for await (const each of runDrill(cluster.api(drills), request, { ...caller, signal: leaving.signal })) {
      if (each.kind === 'drill') shown.push(each.drill);
      if (each.kind === 'refused') throw new Error(JSON.stringify(each.refusals));
    }
  })();
  return { drills, shown, done, leave: () => leaving.abort() };
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe('a drill', () => {
  it('is written down, armed, asked, hurt, undone and reported, in this order', async () => {
    const cluster = new Cluster();
    const { done, shown } = run(cluster);
    await pass(12_000);
    await done;
    expect(cluster.said).toEqual([
      'saved arming',
      'arm id-n1',
      'saved probing',
      'probe id-n2',
      'saved probing',
      'count id-n2',
      'inject id-n1',
      'saved fault',
      'saved undoing',
      'stop 192.0.2.1:4711 key',
      'ask id-n1',
      'count id-n2',
      'saved ended',
    ]);
    const last = shown.at(-1);
    expect(cluster.stored[0]?.stop?.key).toBe('key');
    expect(JSON.stringify(shown)).not.toContain('4711');
    expect(last?.report).toMatchObject({ verdict: 'passed', undo: { confirmed: true } });
    // The fault follows its announcement, and lasts as long as was asked.
    expect((last?.faultAtMs ?? 0) - (last?.probedAtMs ?? 0)).toBe(1_100);
    expect((last?.endedAtMs ?? 0) - (last?.faultAtMs ?? 0)).toBe(6_000);
  });

  it('hurts nothing where the service does not answer, and undoes what was armed', async () => {
    const cluster = new Cluster();
    cluster.answers.count = () => ({ kind: 'tally', tally: tally({ failed: 7, failures: { ECONNREFUSED: 7 } }) });
    const { done, shown } = run(cluster);
    await pass(3_000);
    await done;
    expect(cluster.said).not.toContain('inject id-n1');
    expect(cluster.isUndone).toBe(true);
    expect(shown.at(-1)?.report).toMatchObject({
      verdict: 'aborted',
      reason: 'shop/web does not answer though nothing is hurt yet: 7 of 50 requests failed, ECONNREFUSED (7)',
    });
  });

  it('hurts nothing where the undo can not be armed', async () => {
    const cluster = new Cluster();
    cluster.answers.arm = () => new FrotaError('unsupported', 'no device has this address');
    const { done, shown } = run(cluster);
    await pass(3_000);
    await done;
    expect(cluster.said.filter((each) => /^(inject|probe)/u.test(each))).toEqual([]);
    expect(shown.at(-1)?.report).toMatchObject({ verdict: 'aborted', reason: 'no device has this address' });
  });

  it('ends when it is stopped, when a spared node goes down, when its caller leaves', async () => {
    for (const [how, reason] of [
      ['stop', 'stopped by eva'],
      ['stranger', 'node n3, which the drill spares, is down'],
      ['leave', 'ana, who ran it, has left'],
    ] as const) {
      const cluster = new Cluster();
      const { drills, done, leave } = run(cluster);
      await pass(2_000);
      expect(cluster.stored[0]?.state).toBe('fault');
      expect(cluster.isUndone).toBe(false);
      if (how === 'stop') void drills.stop('d1', reason);
      else if (how === 'leave') leave();
      else cluster.become('n3', 'down');
      await pass(1_000);
      await done;
      expect(cluster.isUndone, how).toBe(true);
      expect(cluster.stored[0]?.report, how).toMatchObject({ verdict: 'aborted', reason });
    }
  });

  it('that was not injected is aborted, not passed', async () => {
    const cluster = new Cluster();
    const problems = ['the fault could not be injected: nft failed'];
    cluster.answers.ask = () => ({ kind: 'state', state: { agentId: 'a1', injected: false, undone: true, problems } });
    const { done, shown } = run(cluster);
    await pass(12_000);
    await done;
    expect(shown.at(-1)?.report).toMatchObject({ verdict: 'aborted', reason: problems[0] });
  });

  it('waits for the other agent after agent-kill', async () => {
    const cluster = new Cluster();
    let agentId = 'a1';
    cluster.answers.ask = () => {
      const state = { agentId, injected: true, undone: true, problems: [] };
      return { kind: 'state', state };
    };
    const { done, shown } = run(cluster, 'agent-kill');
    await pass(1_600);
    agentId = 'a2';
    await pass(12_000);
    await done;
    const { recoveryMs } = shown.at(-1)?.report ?? {};
    expect(recoveryMs).toBeGreaterThanOrEqual(450);
    expect(recoveryMs).toBeLessThan(700);
  });

  it('only one runs at a time', async () => {
    const cluster = new Cluster();
    const { drills, done, shown } = run(cluster);
    await pass(2_000);
    await expect(drills.begin(shown[0]!.plan, 'eva')).rejects.toThrow('drill d1 is not over');
    expect(drills.running()).toBe('d1');
    await pass(12_000);
    await done;
    expect(drills.running()).toBeUndefined();
  });
});

describe('the next controller', () => {
  it('goes on with a controller-kill, and whoever follows gets the report', async () => {
    const cluster = new Cluster();
    run(cluster, 'controller-kill').done.catch(() => undefined);
    await pass(1_500);
    expect(cluster.said.slice(-2)).toEqual(['saved fault', 'kill self']);
    // The nodes are heard one by one.
    cluster.states = { 'id-n3': 'suspect' };
    const next = new DrillRuns(cluster.ports);
    await next.resume();
    const shown: Drill[] = [];
    const following = (async () => {
      const caller = { name: 'ana', signal: new AbortController().signal };
      for await (const each of followDrill(cluster.api(next), { id: 'd1', owner: true }, caller)) {
        if (each.kind === 'drill') shown.push(each.drill);
      }
    })();
    await pass(1_000);
    cluster.become('n3', 'ready');
    await pass(8_000);
    await following;
    const report = shown.at(-1)?.report;
    expect(report?.verdict).toBe('passed');
    expect(report?.recoveryMs).toBeGreaterThan(1_000);
    expect(report?.recoveryMs).toBeLessThan(2_000);
    expect(cluster.said).toContain('stop 127.0.0.1:99 key');
  });

  it('undoes and reports any other drill as aborted', async () => {
    const cluster = new Cluster();
    run(cluster).done.catch(() => undefined);
    await pass(2_000);
    const next = new DrillRuns(cluster.ports);
    await next.resume();
    await pass(1_000);
    expect(cluster.isUndone).toBe(true);
    expect(cluster.stored[0]).toMatchObject({
      state: 'ended',
      report: { verdict: 'aborted', reason: 'the controller was restarted meanwhile' },
    });
  });

  it('finds a drill undone by one that was told to stop', async () => {
    const cluster = new Cluster();
    const { drills, done } = run(cluster);
    done.catch(() => undefined);
    await pass(2_000);
    const closing = drills.close();
    await pass(100);
    await closing;
    expect(cluster.isUndone).toBe(true);
    expect(cluster.stored[0]?.state).toBe('fault');
  });
});
