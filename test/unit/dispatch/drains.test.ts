import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { createDispatch } from '../../../controller/dispatch/dispatch.ts';
import { drainConfirmWithinMs, Drains, EndpointHistory } from '../../../controller/dispatch/drains.ts';
import { unitsOf } from '../../../controller/dispatch/units.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import { monoMs } from '../../../proto/base/clock.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { reviseUnit } from '../../../proto/codec/assignment.ts';
import type { AgentMessage, ControllerMessage } from '../../../proto/codec/dispatch.ts';
import { unitKey } from '../../../proto/domain/assignment.ts';
import type { AssignedTask, TasksUnit } from '../../../proto/domain/assignment.ts';
import type { NodeState } from '../../../proto/domain/node.ts';
import type { Task } from '../../../proto/domain/task.ts';
import { createOutbox } from '../../fakes/outbox.ts';
import { aDispatch } from '../../builders/dispatch.ts';
import { aFacts, aLiveness, aNode, aService, aSnapshot, aStatus, aTask } from '../../builders/domain.ts';

const sha256Hex = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const key = 'service:shop/web';
const published = aService({ ports: [{ target: 80, published: 8080, protocol: 'tcp' }] });
const names = ['n1', 'n2', 'n3'];

/** Task `a` on n1, `b` on n2; the service is published, so n3 serves it too. */
function world(a: Partial<Task> = {}, state: 'starting' | 'running' = 'running'): Snapshot {
  return aSnapshot({
    nodes: names.map((name) => aNode(name)),
    services: [published],
    tasks: [aTask({ id: 'a', nodeId: 'id-n1', ...a }), aTask({ id: 'b', slot: 2, nodeId: 'id-n2' })],
    statuses: [
      aStatus('a', state, { address: '10.64.1.2', health: state === 'running' ? 'healthy' : 'starting' }),
      aStatus('b', 'running', { address: '10.64.1.3' }),
    ],
  });
}

const stopping: Partial<Task> = { desired: 'shutdown' };
const serviceUnitOf = (snapshot: Snapshot) => {
  const unit = unitsOf(snapshot).services.get('shop/web');
  if (unit === undefined) throw new Error('no service');
  return reviseUnit(unit, sha256Hex);
};
const withA = serviceUnitOf(world());
const withoutA = serviceUnitOf(world(stopping));

/** The controller's memory as it is when `a` begins to stop and every node has said that it leads to it. */
function leaving(
  states: Readonly<Record<string, NodeState | undefined>> = {},
  snapshot = world(stopping),
  earlier = withA,
) {
  let nowMs = 0;
  const history = new EndpointHistory();
  history.add(key, earlier);
  history.add(key, withA);
  history.add(key, withoutA);
  const applied = new Map(names.map((name) => [`id-${name}`, new Map([[key, withA.revision]])]));
  const liveness = aLiveness(snapshot, states);
  const drains = new Drains({
    now: () => monoMs(nowMs),
    liveness: () => liveness,
    applied: (nodeId) => applied.get(nodeId),
    history,
    logger: silentLogger,
  });
  const units = unitsOf(snapshot);
  drains.follow(units);
  const unit = units.tasks.get('id-n1') ?? { kind: 'tasks', tasks: [] };
  return {
    drains,
    applied,
    say: (name: string, revision = withoutA.revision) => void applied.get(`id-${name}`)?.set(key, revision),
    passes: (ms: number) => void (nowMs += ms),
    desired: () => drains.tasksOf('id-n1', unit).tasks[0]?.desired,
  };
}

describe('a task that stops', () => {
  it('drains until the last node that leads to it has said that it no longer does', () => {
    const { say, desired, drains } = leaving();
    expect(desired()).toBe('draining');
    say('n1');
    say('n3');
    expect(desired()).toBe('draining');
    expect(drains.waitingFor(new Set([key]))).toEqual(['id-n1']);
    say('n2');
    expect(desired()).toBe('shutdown');
    expect(drains.dueInMs('id-n1')).toBeUndefined();
    expect(drains.waitingFor(new Set([key]))).toEqual([]);
  });

  it('waits for the bound and no longer', () => {
    const { passes, desired, drains } = leaving();
    passes(drainConfirmWithinMs - 1);
    expect(desired()).toBe('draining');
    expect(drains.dueInMs('id-n1')).toBe(1);
    passes(1);
    // Not forgotten between "due" and the next look.
    expect(drains.dueInMs('id-n1')).toBe(0);
    expect(desired()).toBe('shutdown');
    expect(drains.dueInMs('id-n1')).toBeUndefined();
  });

  it.each(['down', 'unreachable'] as const)('does not wait for a node that is %s', (state) => {
    const { say, desired } = leaving({ 'id-n2': state });
    say('n1');
    say('n3');
    expect(desired()).toBe('shutdown');
  });

  it('waits for a node that is heard and has no session: it is about to come back, and leads to it till then', () => {
    const { say, desired, applied } = leaving();
    say('n1');
    say('n3');
    applied.delete('id-n2');
    expect(desired()).toBe('draining');
  });

  it('believes nothing of a revision that this controller has not made', () => {
    const { say, desired } = leaving();
    say('n1');
    say('n2');
    say('n3', 'of-an-earlier-controller');
    expect(desired()).toBe('draining');
  });

  it('waits for a node that serves what was before the task: it may be at work on a revision that leads to it', () => {
    const before = aService({ ports: [{ target: 80, published: 8081, protocol: 'tcp' }] });
    const earlier = serviceUnitOf({ ...world(stopping), services: aSnapshot({ services: [before] }).services });
    const { say, desired } = leaving({}, world(stopping), earlier);
    say('n1');
    say('n2');
    say('n3', earlier.revision);
    expect(desired()).toBe('draining');
    say('n3');
    expect(desired()).toBe('shutdown');
  });

  it('has no way back to running on, whatever is said afterwards', () => {
    const { say, desired } = leaving();
    for (const name of names) say(name);
    expect(desired()).toBe('shutdown');
    say('n2', withA.revision);
    expect(desired()).toBe('shutdown');
  });

  it('waits for nobody if nothing ever led to it', () => {
    const { desired } = leaving({}, world(stopping, 'starting'));
    expect(desired()).toBe('shutdown');
  });

  it('is not asked about once it has ended or its node was given up', () => {
    const orphaned = unitsOf(world({ ...stopping, orphaned: true }));
    expect(orphaned.leaving.size).toBe(0);
    expect(orphaned.tasks.get('id-n1')).toBeUndefined();
  });

  it('waits only for those who need the service', () => {
    const inner = { ...world(stopping), services: aSnapshot({ services: [aService()] }).services };
    const { say, desired } = leaving({}, inner);
    say('n1');
    expect(desired()).toBe('draining');
    // n3 has no task of the stack, and no port is published.
    say('n2');
    expect(desired()).toBe('shutdown');
  });

  it('is stopped exactly when all who can answer have answered, or the bound is over, in whatever order things happen', () => {
    const event = fc.oneof(
      fc.record({ kind: fc.constant('say' as const), name: fc.constantFrom(...names), gone: fc.boolean() }),
      fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 400 }) }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 15 }), (events) => {
        const { say, passes, desired } = leaving();
        const led = new Set(names);
        let [elapsedMs, stopped] = [0, false];
        for (const each of events) {
          if (each.kind === 'pass') {
            passes(each.ms);
            elapsedMs += each.ms;
          } else {
            say(each.name, each.gone ? withoutA.revision : withA.revision);
            if (each.gone) led.delete(each.name);
            else led.add(each.name);
          }
          stopped ||= led.size === 0 || elapsedMs >= drainConfirmWithinMs;
          expect(desired()).toBe(stopped ? 'shutdown' : 'draining');
        }
      }),
    );
  });
});

describe('sessions', () => {
  function cluster() {
    let snapshot = world();
    const dispatch = createDispatch(aDispatch({ snapshot: () => snapshot, liveness: () => aLiveness(snapshot) }));
    const abort = new AbortController();
    const connect = (name: string) => {
      const say = createOutbox<AgentMessage>(100, abort.signal);
      say.push({ kind: 'hello', facts: aFacts(`id-${name}`), bootId: new Uint8Array(16), held: [] });
      const received: ControllerMessage[] = [];
      const done = (async () => {
        for await (const message of dispatch.serve(`id-${name}`, say, abort.signal)) received.push(message);
      })();
      const units = () => received.flatMap((message) => (message.kind === 'unit' ? [message.unit] : []));
      return {
        done,
        /** Says that the latest service unit is in force, as it came `earlier` sendings of any unit before. */
        apply: (earlier = 0) => {
          const at = units().findLastIndex(({ unit }) => unitKey(unit) === key);
          const revision = units()[at]?.revision ?? '';
          say.push({ kind: 'applied', units: [{ key, revision, number: at + 1 - earlier }] });
        },
        desired: (): AssignedTask['desired'] | undefined => {
          const latest = units().findLast(({ unit }) => unit.kind === 'tasks')?.unit as TasksUnit | undefined;
          return latest?.tasks[0]?.desired;
        },
        endpoints: () => {
          const latest = units().findLast(({ unit }) => unitKey(unit) === key)?.unit;
          return latest?.kind === 'service' ? latest.endpoints.map(({ taskId }) => taskId) : undefined;
        },
      };
    };
    return {
      sessions: names.map(connect),
      become: (next: Snapshot) => {
        snapshot = next;
        dispatch.changed();
      },
      end: () => {
        abort.abort();
      },
    };
  }

  async function begun() {
    const { sessions, become, end } = cluster();
    await vi.waitFor(() => {
      for (const session of sessions) expect(session.endpoints()).toEqual(['a', 'b']);
    });
    for (const session of sessions) session.apply();
    await new Promise((resolve) => setTimeout(resolve, 10));
    become(world(stopping));
    await vi.waitFor(() => {
      expect(sessions[0]?.desired()).toBe('draining');
      for (const session of sessions) expect(session.endpoints()).toEqual(['b']);
    });
    return { sessions, end };
  }

  it('the node is told to stop it as soon as the last of the others has spoken', async () => {
    const { sessions, end } = await begun();
    sessions[0]?.apply();
    sessions[1]?.apply();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(sessions[0]?.desired()).toBe('draining');
    const saidAt = performance.now();
    sessions[2]?.apply();
    await vi.waitFor(() => {
      expect(sessions[0]?.desired()).toBe('shutdown');
    });
    expect(performance.now() - saidAt).toBeLessThan(200);
    end();
    await Promise.all(sessions.map(({ done }) => done));
  });

  it('and not by what was in force of the same contents before they were sent once more', async () => {
    const { sessions, end } = await begun();
    sessions[0]?.apply();
    sessions[1]?.apply();
    sessions[2]?.apply(1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(sessions[0]?.desired()).toBe('draining');
    sessions[2]?.apply();
    await vi.waitFor(() => {
      expect(sessions[0]?.desired()).toBe('shutdown');
    });
    end();
    await Promise.all(sessions.map(({ done }) => done));
  });

  it('and after the bound though one is silent', async () => {
    const { sessions, end } = await begun();
    const beganAt = performance.now();
    sessions[0]?.apply();
    sessions[1]?.apply();
    await vi.waitFor(() => {
      expect(sessions[0]?.desired()).toBe('shutdown');
    }, 3_000);
    const tookMs = performance.now() - beganAt;
    expect(tookMs).toBeGreaterThan(drainConfirmWithinMs / 2);
    expect(tookMs).toBeLessThan(drainConfirmWithinMs + 500);
    end();
    await Promise.all(sessions.map(({ done }) => done));
  });
});
