/** Orders of a drill to an agent, and its answers. */
import { unreachable } from '../base/assert.ts';
import { FrotaError } from '../base/errors.ts';
import type { DrillAnswer, DrillOrder } from '../domain/drill-orders.ts';
import type { FaultState, ProbeTally } from '../domain/drill.ts';
import { drillKindEnum, probeKindEnum } from './enums.ts';
import * as w from './wire.ts';
import type { Received, Sent } from './wire.ts';

export function drillOrderToWire(order: DrillOrder): Sent<'DrillOrder'> {
  const { drillId } = order;
  const none = { drillId, arm: null, inject: null, undo: null, ask: null, probe: null, count: null };
  switch (order.kind) {
    case 'arm':
      return { ...none, arm: armToWire(order) };
    case 'inject':
      return { ...none, inject: {} };
    case 'undo':
      return { ...none, undo: {} };
    case 'ask':
      return { ...none, ask: {} };
    case 'probe':
      return { ...none, probe: probeToWire(order) };
    case 'count':
      return { ...none, count: { end: order.end } };
    default:
      return unreachable(order);
  }
}

const armToWire = (order: DrillOrder & { readonly kind: 'arm' }): Sent<'ArmDrill'> => ({
  fault: drillKindEnum.toWire(order.fault),
  taskId: order.taskId ?? null,
  undoWithinMs: w.uint32(order.undoWithinMs, 'ArmDrill.undo_within_ms'),
  stopKey: order.stopKey,
});

const probeToWire = ({ probe, service, atMostMs }: DrillOrder & { readonly kind: 'probe' }): Sent<'BeginProbe'> => ({
  kind: probeKindEnum.toWire(probe.kind),
  path: probe.path,
  perSecond: w.uint32(probe.perSecond, 'BeginProbe.per_second'),
  targets: [...probe.targets],
  containerPort: w.uint32(probe.containerPort, 'BeginProbe.container_port'),
  service,
  atMostMs: w.uint32(atMostMs, 'BeginProbe.at_most_ms'),
});

export function drillOrderFromWire(wire: Received<'DrillOrder'>): DrillOrder {
  const drillId = w.name(wire.drillId, 'DrillOrder.drill_id');
  const { arm, inject, undo, ask, probe, count } = wire as {
    [K in 'arm' | 'inject' | 'undo' | 'ask' | 'probe' | 'count']: (typeof wire)[K] | null;
  };
  if (arm !== null) {
    return {
      kind: 'arm',
      drillId,
      fault: drillKindEnum.fromWire(arm.fault, 'ArmDrill.fault'),
      undoWithinMs: arm.undoWithinMs,
      stopKey: w.name(arm.stopKey, 'ArmDrill.stop_key'),
      ...(arm.taskId !== null && { taskId: arm.taskId }),
    };
  }
  if (inject !== null) return { kind: 'inject', drillId };
  if (undo !== null) return { kind: 'undo', drillId };
  if (ask !== null) return { kind: 'ask', drillId };
  if (count !== null) return { kind: 'count', drillId, end: count.end };
  if (probe !== null) {
    const { path, perSecond, targets, containerPort, service, atMostMs } = probe;
    const kind = probeKindEnum.fromWire(probe.kind, 'BeginProbe.kind');
    return { kind: 'probe', drillId, service, atMostMs, probe: { kind, path, perSecond, targets, containerPort } };
  }
  throw new FrotaError('corrupt', 'DrillOrder.message is missing or of a later version');
}

export function drillAnswerToWire(answer: DrillAnswer): Sent<'DrillAnswer'> {
  const none = { armed: null, injecting: null, state: null, begun: null, tally: null };
  switch (answer.kind) {
    case 'armed': {
      const stopPort = w.optionalUint32(answer.stopPort, 'DrillArmed.stop_port');
      return { ...none, armed: { agentId: answer.agentId, stopPort } };
    }
    case 'injecting':
      return { ...none, injecting: { inMs: w.uint32(answer.inMs, 'FaultInjecting.in_ms') } };
    case 'state':
      return { ...none, state: stateToWire(answer.state) };
    case 'probing':
      return { ...none, begun: {} };
    case 'tally':
      return { ...none, tally: tallyToWire(answer.tally) };
    default:
      return unreachable(answer);
  }
}

export function drillAnswerFromWire(wire: Received<'DrillAnswer'>): DrillAnswer {
  const { armed, injecting, state, begun, tally } = wire as {
    [K in 'armed' | 'injecting' | 'state' | 'begun' | 'tally']: (typeof wire)[K] | null;
  };
  if (armed !== null) {
    const { agentId, stopPort } = armed;
    return { kind: 'armed', agentId, ...(stopPort !== null && { stopPort }) };
  }
  if (injecting !== null) return { kind: 'injecting', inMs: injecting.inMs };
  if (state !== null) return { kind: 'state', state: stateFromWire(state) };
  if (begun !== null) return { kind: 'probing' };
  if (tally !== null) return { kind: 'tally', tally: tallyFromWire(tally) };
  throw new FrotaError('corrupt', 'DrillAnswer.message is missing or of a later version');
}

const stateToWire = ({ agentId, injected, undone, undoneBy, problems }: FaultState): Sent<'FaultState'> => ({
  agentId,
  injected,
  undone,
  undoneBy: undoneBy ?? null,
  problems: [...problems],
});

const stateFromWire = ({ agentId, injected, undone, undoneBy, problems }: Received<'FaultState'>): FaultState =>
  w.fields<FaultState>({ agentId, injected, undone, undoneBy: undoneBy ?? undefined, problems });

const tallyToWire = (tally: ProbeTally): Sent<'ProbeTally'> => ({
  ranMs: w.uint32(tally.ranMs, 'ProbeTally.ran_ms'),
  sent: w.uint32(tally.sent, 'ProbeTally.sent'),
  failed: w.uint32(tally.failed, 'ProbeTally.failed'),
  longestGapMs: w.uint32(tally.longestGapMs, 'ProbeTally.longest_gap_ms'),
  firstFailureMs: w.optionalUint32(tally.firstFailureMs, 'ProbeTally.first_failure_ms'),
  lastFailureMs: w.optionalUint32(tally.lastFailureMs, 'ProbeTally.last_failure_ms'),
  medianLatencyMs: tally.latencyMs.median,
  p99LatencyMs: tally.latencyMs.p99,
  failures: { ...tally.failures },
  endpoints: tally.endpoints.map(({ taskId, inForceMs, answeredMs }) => ({
    taskId,
    inForceMs: w.uint32(inForceMs, 'ProbedEndpoint.in_force_ms'),
    answeredMs: w.optionalUint32(answeredMs, 'ProbedEndpoint.answered_ms'),
  })),
});

const tallyFromWire = (wire: Received<'ProbeTally'>): ProbeTally =>
  w.fields<ProbeTally>({
    ranMs: wire.ranMs,
    sent: wire.sent,
    failed: wire.failed,
    longestGapMs: wire.longestGapMs,
    firstFailureMs: wire.firstFailureMs ?? undefined,
    lastFailureMs: wire.lastFailureMs ?? undefined,
    latencyMs: { median: wire.medianLatencyMs, p99: wire.p99LatencyMs },
    failures: { ...wire.failures },
    endpoints: wire.endpoints.map((each) => {
      const { taskId, inForceMs, answeredMs } = each;
      return { taskId, inForceMs, ...(answeredMs !== null && { answeredMs }) };
    }),
  });
