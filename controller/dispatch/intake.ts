/** PURE: which of the reports a node sends are news, and whether they are stored or only remembered. */
import { isIPv4 } from 'node:net';
import { FrotaError } from '../../proto/base/errors.ts';
import type { NodeFacts } from '../../proto/domain/node.ts';
import { isEnded, taskStateRank } from '../../proto/domain/task.ts';
import type { TaskStatus } from '../../proto/domain/task.ts';
import { contains, parseCidr } from '../network/subnets.ts';
import type { Snapshot } from '../plan/snapshot.ts';

/** A report whose times are durations before it was sent, ms. */
export interface TimedReport {
  readonly status: Omit<TaskStatus, 'sinceMs' | 'startedAtMs' | 'ranAtMs' | 'finishedAtMs'>;
  readonly sinceAgoMs: number;
  readonly startedAgoMs?: number;
  readonly finishedAgoMs?: number;
}

export interface Intake {
  /** To be written before the batch is acknowledged. */
  readonly store: readonly TaskStatus[];
  /** Kept in memory; told again by the agent after a restart. */
  readonly remember: readonly TaskStatus[];
}

/** People read it in one cell of a table, and it is stored with every ended task. */
const maxReasonLength = 1024;
const maxPort = 65_535;

/** A node tells about itself, but what it says goes to every other node. @throws FrotaError `invalid`. */
export function checkFacts(facts: NodeFacts): void {
  const { address, livenessPort, capacity } = facts;
  if (!isIPv4(address)) throw new FrotaError('invalid', `a node's address must be an IPv4 address, not "${address}"`);
  if (livenessPort < 1 || livenessPort > maxPort) {
    throw new FrotaError('invalid', `a node's liveness port must be 1 to 65535, not ${String(livenessPort)}`);
  }
  if (capacity.cpuMillis < 0 || capacity.memoryBytes < 0)
    throw new FrotaError('invalid', "a node's capacity is negative");
}

/** Only forward moves of tasks of this very node count; the rest is old news and is dropped. */
export function takeReports(
  snapshot: Snapshot,
  nodeId: string,
  reports: readonly TimedReport[],
  nowMs: number,
): Intake {
  const store = new Map<string, TaskStatus>();
  const remember = new Map<string, TaskStatus>();
  for (const report of reports) {
    const task = snapshot.tasks.get(report.status.taskId)?.value;
    if (task?.nodeId !== nodeId) continue;
    const known = store.get(task.id) ?? remember.get(task.id) ?? snapshot.statuses.get(task.id);
    const subnet = snapshot.nodes.get(nodeId)?.value.subnet ?? '0.0.0.0/32';
    const status = placeOnClock(bounded(report, subnet, nowMs - task.createdAtMs), known, nowMs);
    if (!isNews(known, status)) continue;
    const durable = status.state === 'running' || isEnded(status.state);
    (durable ? store : remember).set(task.id, status);
    if (durable) remember.delete(task.id);
  }
  return { store: [...store.values()], remember: [...remember.values()] };
}

/** A node can say of its tasks only what can be: within their life, and with an address of its own subnet. */
function bounded({ status, ...times }: TimedReport, subnet: string, ageMs: number): TimedReport {
  const { address, reason, ...same } = status;
  const within = (agoMs: number): number => Math.min(Math.max(0, agoMs), Math.max(0, ageMs));
  const { startedAgoMs, finishedAgoMs } = times;
  return {
    status: {
      ...same,
      ...(address !== undefined && contains(parseCidr(subnet), address) ? { address } : {}),
      ...(reason === undefined ? {} : { reason: reason.slice(0, maxReasonLength) }),
    },
    sinceAgoMs: within(times.sinceAgoMs),
    ...(startedAgoMs === undefined ? {} : { startedAgoMs: within(startedAgoMs) }),
    ...(finishedAgoMs === undefined ? {} : { finishedAgoMs: within(finishedAgoMs) }),
  };
}

/** What was known of the start stays as it was first told: an adopted container keeps its `startedAt`. */
function placeOnClock(report: TimedReport, known: TaskStatus | undefined, nowMs: number): TaskStatus {
  const startedAtMs = known?.startedAtMs ?? before(nowMs, report.startedAgoMs);
  const finishedAtMs = known?.finishedAtMs ?? before(nowMs, report.finishedAgoMs);
  const sinceMs = known?.state === report.status.state ? known.sinceMs : nowMs - report.sinceAgoMs;
  const ranAtMs = known?.ranAtMs ?? (report.status.state === 'running' ? sinceMs : undefined);
  return {
    ...report.status,
    sinceMs,
    ...(startedAtMs === undefined ? {} : { startedAtMs }),
    ...(ranAtMs === undefined ? {} : { ranAtMs }),
    ...(finishedAtMs === undefined ? {} : { finishedAtMs }),
  };
}

const before = (nowMs: number, agoMs: number | undefined): number | undefined =>
  agoMs === undefined ? undefined : nowMs - agoMs;

function isNews(known: TaskStatus | undefined, next: TaskStatus): boolean {
  if (known === undefined) return true;
  if (isEnded(known.state)) return false;
  const step = taskStateRank(next.state) - taskStateRank(known.state);
  if (step !== 0) return step > 0;
  return known.reason !== next.reason || known.health !== next.health || known.address !== next.address;
}
