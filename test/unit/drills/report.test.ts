import { describe, expect, it } from 'vitest';
import { reportOf, lostSlots } from '../../../controller/drills/report.ts';
import type { Evidence } from '../../../controller/drills/report.ts';
import { beginTimeline, follow, strangerDown } from '../../../controller/drills/timeline.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import type { Drill, DrillPlan, ProbeTally } from '../../../proto/domain/drill.ts';
import type { Task, TaskState } from '../../../proto/domain/task.ts';
import { aLiveness, aStatus, aTask, startMs } from '../../builders/domain.ts';
import { aShop, check } from './world.ts';

const undone = { agentId: 'a', injected: true, undone: true, undoneBy: 'stop', problems: [] };

function withTask(snapshot: Snapshot, task: Task, state?: TaskState): Snapshot {
  const tasks = new Map([...snapshot.tasks, [task.id, { value: task, modRevision: 2 }]]);
  const statuses = new Map([...snapshot.statuses, ...(state ? [[task.id, aStatus(task.id, state)] as const] : [])]);
  return { ...snapshot, tasks, statuses };
}

function changed(snapshot: Snapshot, id: string, over: Partial<Task>): Snapshot {
  return withTask(snapshot, { ...snapshot.tasks.get(id)!.value, ...over });
}

/** The loss of n4 with slot 4, step by step. */
function lossOfN4() {
  const shop = aShop();
  const liveness = (state: 'ready' | 'suspect' | 'down') => aLiveness(shop, { 'id-n4': state });
  let timeline = beginTimeline(shop, 'id-n4');
  timeline = follow(timeline, shop, liveness('suspect'), 600);
  timeline = follow(timeline, shop, liveness('down'), 800);
  const orphaned = changed(shop, 't4', { desired: 'shutdown', orphaned: true });
  const next = aTask({ id: 'new', slot: 4, nodeId: 'id-n3', attempt: 1 });
  const placed = withTask(orphaned, next);
  timeline = follow(timeline, placed, liveness('down'), 805);
  timeline = follow(timeline, withTask(placed, next, 'accepted'), liveness('down'), 815);
  const runs = withTask(placed, next, 'running');
  timeline = follow(timeline, runs, liveness('down'), 900);
  timeline = follow(timeline, runs, liveness('down'), 5_000);
  return { shop, timeline, runs, down: liveness('down') };
}

function aDrill(over: Partial<DrillPlan> = {}, slo = 'recovery<2s,errors<1%,lost=0'): Drill {
  const result = check(aShop(), { node: 'n4', slo });
  if (result.kind === 'refused') throw new Error('refused');
  return {
    id: 'd1',
    by: 'ana',
    state: 'undoing',
    startedAtMs: startMs,
    probedAtMs: startMs + 100,
    faultAtMs: startMs + 1_100,
    plan: { ...result.plan, ...over },
  };
}

const tally = (over: Partial<ProbeTally> = {}): ProbeTally => ({
  ranMs: 31_000,
  sent: 1_550,
  failed: 3,
  longestGapMs: 80,
  firstFailureMs: 1_010,
  lastFailureMs: 1_050,
  latencyMs: { median: 2, p99: 9 },
  failures: { 'no answer within 1000 ms': 3 },
  endpoints: [{ taskId: 'new', inForceMs: 1_920, answeredMs: 1_930 }],
  ...over,
});

const evidence = (over: Partial<Evidence> = {}): Evidence => ({
  drill: aDrill(),
  timeline: lossOfN4().timeline,
  lostSlots: [],
  backAt: undefined,
  tally: tally(),
  fault: undone,
  aborted: undefined,
  notes: [],
  ...over,
});

describe('the report of a drill', () => {
  it('passes when all is met, with the phases of each lost task on one clock', () => {
    const report = reportOf(evidence());
    expect(report.verdict).toBe('passed');
    expect(report.reason).toBeNull();
    // The witness began to ask 1 s before the fault.
    expect(report.recoveryMs).toBe(930);
    expect(report.slo).toEqual([
      { objective: 'recovery<2s', measured: 930, met: true },
      { objective: 'errors<1%', measured: 0.194, met: true },
      { objective: 'lost=0', measured: 0, met: true },
    ]);
    expect(report.tasks).toEqual([
      {
        task: { id: 't4', service: 'shop/web', slot: 4, node: 'n4' },
        replacement: { id: 'new', service: 'shop/web', slot: 4, node: 'n3' },
        phasesMs: {
          suspected: 600,
          confirmed: 800,
          committed: 805,
          received: 815,
          created: 900,
          running: 900,
          endpoint: 920,
          answering: 930,
        },
      },
    ]);
    expect(report.probe).toMatchObject({
      sent: 1_550,
      failed: 3,
      longestGapMs: 80,
      firstFailureMs: 10,
      lastFailureMs: 50,
    });
    expect(report.undo).toEqual({ confirmed: true, by: 'stop' });
  });

  it('fails when something is not met, and says what', () => {
    const late = reportOf(
      evidence({ tally: tally({ failed: 20, endpoints: [{ taskId: 'new', inForceMs: 3_000, answeredMs: 3_200 }] }) }),
    );
    expect([late.verdict, late.reason]).toEqual(['failed', 'not met: recovery<2s, errors<1%']);
    expect(late.recoveryMs).toBe(2_200);
    const lost = reportOf(evidence({ lostSlots: ['shop/web.4'] }));
    expect([lost.verdict, lost.lost, lost.reason]).toEqual(['failed', 1, 'not met: lost=0']);
  });

  it('fails on what never answered, and holds where nothing was lost', () => {
    const mute = reportOf(evidence({ tally: tally({ endpoints: [{ taskId: 'new', inForceMs: 1_920 }] }) }));
    expect(mute.slo[0]).toEqual({ objective: 'recovery<2s', measured: null, met: false });
    const calm = reportOf(evidence({ timeline: beginTimeline(aShop(), 'id-n4') }));
    expect(calm.slo[0]).toEqual({ objective: 'recovery<2s', measured: null, met: true });
    expect(calm.tasks).toEqual([]);
  });

  it('counts an agent or a controller that comes back', () => {
    const timeline = beginTimeline(aShop(), undefined);
    const drill = aDrill({ kind: 'controller-kill' });
    expect(reportOf(evidence({ drill, timeline, backAt: 700 })).recoveryMs).toBe(700);
    expect(reportOf(evidence({ drill, timeline })).slo[0]?.met).toBe(false);
  });

  it('without a probe goes by what runs', () => {
    const { probe: _, ...plan } = aDrill().plan;
    const drill = {
      ...aDrill({}, 'recovery<2s'),
      plan: { ...plan, objectives: aDrill({}, 'recovery<2s').plan.objectives },
    };
    const report = reportOf(evidence({ drill, tally: undefined }));
    expect([report.recoveryMs, report.probe, report.verdict]).toEqual([900, null, 'passed']);
  });

  it('is aborted when it was stopped, or nobody has seen the fault undone', () => {
    expect(reportOf(evidence({ aborted: 'stopped by ana' }))).toMatchObject({
      verdict: 'aborted',
      reason: 'stopped by ana',
    });
    expect(reportOf(evidence({ fault: { ...undone, undone: false } })).verdict).toBe('aborted');
    expect(reportOf(evidence({ fault: undefined })).verdict).toBe('aborted');
  });
});

describe('the timeline', () => {
  it('a replacement that is itself replaced begins anew', () => {
    const { shop, down } = lossOfN4();
    let timeline = beginTimeline(shop, 'id-n4');
    const orphaned = changed(shop, 't4', { desired: 'shutdown', orphaned: true });
    const first = aTask({ id: 'first', slot: 4, nodeId: 'id-n3', attempt: 1 });
    timeline = follow(timeline, withTask(orphaned, first, 'running'), down, 900);
    const failed = withTask(orphaned, { ...first, desired: 'shutdown' }, 'failed');
    const second = aTask({ id: 'second', slot: 4, nodeId: 'id-n2', attempt: 2 });
    timeline = follow(timeline, withTask(failed, second), down, 1_500);
    timeline = follow(timeline, withTask(failed, second, 'running'), down, 1_700);
    const followed = timeline.followed.get('t4');
    expect(followed?.replacement?.id).toBe('second');
    expect(followed?.moments).toMatchObject({ committed: 1_500, running: 1_700 });
  });

  it('knows when the hurt node is back, and when another one has troubles of its own', () => {
    const { shop, timeline } = lossOfN4();
    expect(timeline.backAt).toBeUndefined();
    expect(follow(timeline, shop, aLiveness(shop), 6_000).backAt).toBe(6_000);
    expect(strangerDown(shop, aLiveness(shop, { 'id-n4': 'down' }), 'id-n4')).toBeUndefined();
    expect(strangerDown(shop, aLiveness(shop, { 'id-n2': 'down' }), 'id-n4')).toContain('node n2');
  });

  it('counts wanted slots that do not run', () => {
    const { shop, runs, down } = lossOfN4();
    expect(lostSlots(runs, down)).toEqual([]);
    const orphaned = changed(shop, 't4', { desired: 'shutdown', orphaned: true });
    const waiting = withTask(orphaned, aTask({ id: 'new', slot: 4, attempt: 1 }));
    expect(lostSlots(waiting, down)).toEqual(['shop/web.4']);
  });
});
