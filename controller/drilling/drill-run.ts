/**
 * One drill from its first step to its report. The order is what makes it safe: written down, armed, asked, hurt, undone,
 * reported; whatever goes wrong on the way, the undo comes next.
 */
import { describeError } from '../../proto/base/errors.ts';
import type { Clock } from '../../proto/base/clock.ts';
import { pause } from '../../proto/base/pause.ts';
import type { Drill, FaultState, ProbeTally } from '../../proto/domain/drill.ts';
import { lostSlots, reportOf } from '../drills/report.ts';
import { beginTimeline, follow, strangerDown } from '../drills/timeline.ts';
import type { Timeline } from '../drills/timeline.ts';
import type { LiveDrill } from './live-drill.ts';
import { answerOf, isAgentBack, NodeOrders } from './node-orders.ts';
import type { DrillingPorts } from './ports.ts';

/** Before the fault the service must answer for this long, or there is nothing to compare with. */
const baselineMs = 1_000;
/** The undo's own timer runs longer than the drill by this: it is there for when nobody ends the drill. */
const undoSlackMs = 3_000;
/** A node that was away comes back in this time: its session is opened anew, its heartbeats are heard. */
const backWithinMs = 20_000;
const pollMs = 50;

export interface DrillRun {
  readonly ports: DrillingPorts;
  readonly clock: DrillClock;
  readonly live: LiveDrill;
  /** Aborts when this controller stops: the next one writes the report. */
  readonly closing: AbortSignal;
}

/** Wall time that does not step while this controller lives, so that what is measured is right whatever is done to the clock. */
export class DrillClock {
  readonly #clock: Clock;
  readonly #offsetMs: number;

  constructor(clock: Clock) {
    const { wallMs, monoMs } = clock.now();
    this.#clock = clock;
    this.#offsetMs = wallMs - monoMs;
  }

  nowMs(): number {
    return Math.round(this.#clock.now().monoMs + this.#offsetMs);
  }
}

/** What is known when the drill ends. */
interface Findings {
  timeline: Timeline;
  lost: readonly string[];
  backAt: number | undefined;
  aborted: string | undefined;
  notes: string[];
}

/** A new drill. */
export async function carryOut(run: DrillRun): Promise<void> {
  const findings = noFindings(run);
  try {
    const agentId = await arm(run);
    await askFirst(run);
    await hurt(run, findings, agentId);
  } catch (error) {
    findings.aborted = run.live.stopReason ?? describeError(error);
  }
  await conclude(run, findings);
}

/** A drill of a controller before this one: killed on purpose, or in the midst of something. */
export async function carryOn(run: DrillRun): Promise<void> {
  const findings = noFindings(run);
  const { drill } = run.live;
  if (drill.plan.kind !== 'controller-kill' || drill.faultAtMs === undefined) {
    findings.aborted = 'the controller was restarted meanwhile';
  } else {
    try {
      await untilOver(run, findings, untilAllHeard(run, findings));
    } catch (error) {
      findings.aborted = run.live.stopReason ?? describeError(error);
    }
  }
  await conclude(run, findings);
}

function noFindings({ ports, live }: DrillRun): Findings {
  const timeline = beginTimeline(ports.snapshot(), live.drill.plan.node?.id);
  return { timeline, lost: [], backAt: undefined, aborted: undefined, notes: [] };
}

/** Answers the id of the agent that is to be hurt. */
async function arm({ ports, live }: DrillRun): Promise<string | undefined> {
  const { id, plan } = live.drill;
  const stopKey = ports.newKey();
  const undoWithinMs = plan.forMs + baselineMs + undoSlackMs;
  await advance({ ports, live }, {});
  if (plan.node === undefined) {
    const port = await ports.self.arm(id, undoWithinMs, stopKey);
    await advance({ ports, live }, { state: 'probing', stop: { address: '127.0.0.1', port, key: stopKey } });
    return undefined;
  }
  const order = { kind: 'arm', drillId: id, fault: plan.kind, undoWithinMs, stopKey } as const;
  const task = plan.task === undefined ? {} : { taskId: plan.task.id };
  const armed = answerOf('armed', await ports.order(plan.node.id, { ...order, ...task }, live.signal));
  const address = ports.snapshot().facts.get(plan.node.id)?.address;
  const stop =
    armed.stopPort === undefined || address === undefined
      ? {}
      : { stop: { address, port: armed.stopPort, key: stopKey } };
  await advance({ ports, live }, { state: 'probing', ...stop });
  return armed.agentId;
}

/** The probe begins, and must be answered while nothing is hurt yet. */
async function askFirst({ ports, clock, live }: DrillRun): Promise<void> {
  const { id, plan } = live.drill;
  const { probe, service } = plan;
  if (probe === undefined || service === undefined) return;
  const { witness, ...asked } = probe;
  const atMostMs = plan.forMs + baselineMs + backWithinMs;
  const order = { kind: 'probe', drillId: id, service, probe: asked, atMostMs } as const;
  answerOf('probing', await ports.order(witness.id, order, live.signal));
  await advance({ ports, live }, { probedAtMs: clock.nowMs() });
  await pause(baselineMs, live.signal);
  const count = { kind: 'count', drillId: id, end: false } as const;
  const { tally } = answerOf('tally', await ports.order(witness.id, count, live.signal));
  if (tally.sent > 0 && tally.failed === 0 && tally.longestGapMs < baselineMs) return;
  const reasons = Object.entries(tally.failures).map(([reason, times]) => `${reason} (${String(times)})`);
  const counted = `${String(tally.failed)} of ${String(tally.sent)} requests failed`;
  throw new Error(`${service} does not answer though nothing is hurt yet: ${[counted, ...reasons].join(', ')}`);
}

async function hurt(run: DrillRun, findings: Findings, agentId: string | undefined): Promise<void> {
  const { ports, clock, live } = run;
  const { id, plan } = live.drill;
  if (live.stopReason !== undefined) throw new Error(live.stopReason);
  findings.timeline = beginTimeline(ports.snapshot(), plan.node?.id);
  if (plan.node === undefined) {
    // Written first: whoever comes after has to know.
    await advance(run, { state: 'fault', faultAtMs: clock.nowMs() });
    return ports.self.kill();
  }
  const inject = { kind: 'inject', drillId: id } as const;
  const { inMs } = answerOf('injecting', await ports.order(plan.node.id, inject, live.signal));
  await advance(run, { state: 'fault', faultAtMs: clock.nowMs() + inMs });
  await untilOver(run, findings, plan.kind === 'agent-kill' ? untilAgentBack(run, findings, agentId) : undefined);
}

/** Follows what happens for as long as the drill lasts, or until it is stopped. `beside` ends with the drill's signal. */
async function untilOver(run: DrillRun, findings: Findings, beside: Promise<void> | undefined): Promise<void> {
  const { ports, clock, live, closing } = run;
  const { plan, faultAtMs = 0 } = live.drill;
  const look = (): void => {
    const atMs = clock.nowMs() - faultAtMs;
    findings.timeline = follow(findings.timeline, ports.snapshot(), ports.liveness(), atMs);
    const stranger = strangerDown(ports.snapshot(), ports.liveness(), plan.node?.id);
    // A new controller has to hear the nodes first; it calls none of them down before it has.
    if (stranger !== undefined) live.stop(stranger);
  };
  const off = ports.onChange(look);
  try {
    look();
    await pause(Math.max(0, faultAtMs + plan.forMs - clock.nowMs()), AbortSignal.any([live.signal, closing]));
    look();
    findings.lost = lostSlots(ports.snapshot(), ports.liveness());
    findings.aborted = live.stopReason;
  } finally {
    off();
    live.stop('it is over');
    await beside;
  }
}

/** Another agent answers for the node than the one that was killed. */
async function untilAgentBack(run: DrillRun, findings: Findings, before: string | undefined): Promise<void> {
  const { ports, clock, live } = run;
  const { id, plan, faultAtMs = 0 } = live.drill;
  while (!live.signal.aborted && plan.node !== undefined) {
    if (await isAgentBack(ports, { nodeId: plan.node.id, drillId: id, before }, live.signal)) {
      findings.backAt = clock.nowMs() - faultAtMs;
      return;
    }
    await pause(pollMs, live.signal);
  }
}

/** This controller leads, and all nodes are heard by it. */
async function untilAllHeard({ ports, clock, live }: DrillRun, findings: Findings): Promise<void> {
  const { faultAtMs = 0 } = live.drill;
  while (!live.signal.aborted) {
    const states = [...ports.snapshot().nodes.keys()].map((nodeId) => ports.liveness().get(nodeId)?.state);
    if (states.every((state) => state === 'ready')) {
      findings.backAt = clock.nowMs() - faultAtMs;
      return;
    }
    await pause(pollMs, live.signal);
  }
}

/** Undo, the last answers, the report. */
async function conclude(run: DrillRun, findings: Findings): Promise<void> {
  const { ports, clock, live, closing } = run;
  // Whoever comes next finds it unfinished, undoes it once more, and says so.
  if (isClosing(run)) return;
  const { aborted } = findings;
  await advance(run, { state: 'undoing' });
  const orders = new NodeOrders(ports, live.drill, closing);
  const fault = await orders.undo(backWithinMs);
  const tally = await orders.tally(backWithinMs);
  if (live.drill.plan.probe !== undefined && tally === undefined) {
    findings.notes.push('what the probe counted is lost: the agent that asked can not be reached, or was restarted');
  }
  await orders.untilHeard(backWithinMs);
  if (isClosing(run)) return;
  const report = evidenceReport(live.drill, findings, {
    fault,
    tally,
    aborted: aborted ?? notInjected(live.drill, fault),
  });
  await advance(run, { state: 'ended', endedAtMs: clock.nowMs(), report });
  ports.logger.info({ drill: live.drill.id, verdict: report.verdict, reason: report.reason }, 'a drill has ended');
}

/** Asked again after each wait. */
const isClosing = ({ closing }: DrillRun): boolean => closing.aborted;

/** What was to be hurt was not: nothing that was measured says anything. */
function notInjected({ faultAtMs, plan }: Drill, fault: FaultState | undefined): string | undefined {
  if (plan.node === undefined || faultAtMs === undefined || fault?.injected !== false) return undefined;
  return fault.problems[0] ?? 'the fault was not injected';
}

const evidenceReport = (
  drill: Drill,
  { timeline, lost, backAt, notes }: Findings,
  end: { fault: FaultState | undefined; tally: ProbeTally | undefined; aborted: string | undefined },
) => reportOf({ drill, timeline, lostSlots: lost, backAt, notes, ...end });

/** Written down, then shown. */
async function advance({ ports, live }: Pick<DrillRun, 'ports' | 'live'>, change: Partial<Drill>): Promise<void> {
  const next = { ...live.drill, ...change };
  await ports.save(next);
  live.become(next);
}
