/**
 * PURE: what a container's health check is, when it runs next, and what its outcomes mean (Compose specification,
 * `healthcheck`; Docker's `daemon/health.go`). Whoever runs the checks asks here after each of them.
 */
import { defaultHealthCheck } from '../../proto/domain/health.ts';
import type { HealthCheck } from '../../proto/domain/health.ts';
import type { Health } from '../../proto/domain/task.ts';

/** A health check with nothing left open. Journaled with its task, because part of it may be the image's. */
export interface ContainerCheck {
  /** Run in the container; it is well when they end with 0. */
  readonly args: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly retries: number;
  readonly startPeriodMs: number;
  readonly startIntervalMs: number;
  /** Nobody said how often to look at the start: sooner at first, see `delayToNextCheckMs`. */
  readonly rampsUp: boolean;
}

/** What came of one check. */
export type CheckOutcome = { readonly kind: 'passed' } | { readonly kind: 'failed'; readonly why: string };

export interface HealthState {
  readonly health: Exclude<Health, 'none'>;
  /** A check has succeeded: from then on the task is `running`, whatever becomes of its health. */
  readonly hasPassed: boolean;
  /** In a row, since the last success. */
  readonly failures: number;
  /** Of these, the ones that bring it nearer to `unhealthy`. */
  readonly countedFailures: number;
  /** Of the last failure; absent after a success. */
  readonly why?: string;
}

/** Of a container whose process has just been started. */
export const newHealth: HealthState = { health: 'starting', hasPassed: false, failures: 0, countedFailures: 0 };

/** What runs a `CMD-SHELL` line where the image names no shell of its own. */
const defaultShell = ['/bin/sh', '-c'];
/** First wait where nobody set `start_interval`: most servers listen within a few of these. */
export const firstStartIntervalMs = 100;
/** The longest that a timer can wait; with more it fires at once. */
const maxWaitMs = 2 ** 31 - 1;
/** A reason is read in one cell of a table. */
const maxOutputLength = 200;

/**
 * Field by field the service's, then the image's, then the defaults. Undefined: nothing is checked. A test of a form
 * that is not known can only be an image's; it is none, as in Docker.
 */
export function containerCheck(
  service: HealthCheck | undefined,
  image: HealthCheck | undefined,
  shell: readonly string[] = defaultShell,
): ContainerCheck | undefined {
  const args = testArguments(service?.test ?? image?.test ?? [], shell);
  if (args === undefined) return undefined;
  const startIntervalMs = positive(service?.startIntervalMs) ?? positive(image?.startIntervalMs);
  return {
    args,
    intervalMs: positive(service?.intervalMs) ?? positive(image?.intervalMs) ?? defaultHealthCheck.intervalMs,
    timeoutMs: positive(service?.timeoutMs) ?? positive(image?.timeoutMs) ?? defaultHealthCheck.timeoutMs,
    retries: positive(service?.retries) ?? positive(image?.retries) ?? defaultHealthCheck.retries,
    startPeriodMs: service?.startPeriodMs ?? image?.startPeriodMs ?? defaultHealthCheck.startPeriodMs,
    startIntervalMs: startIntervalMs ?? defaultHealthCheck.startIntervalMs,
    rampsUp: startIntervalMs === undefined,
  };
}

function testArguments(test: readonly string[], shell: readonly string[]): readonly string[] | undefined {
  const [form, ...rest] = test;
  if (rest.length === 0) return undefined;
  if (form === 'CMD') return rest;
  return form === 'CMD-SHELL' ? [...shell, rest.join(' ')] : undefined;
}

/** 0 is how Docker writes "not set". */
const positive = (value: number | undefined): number | undefined =>
  value !== undefined && value > 0 ? Math.min(value, maxWaitMs) : undefined;

/** From the end of one check to the begin of the next. */
export function delayToNextCheckMs(state: HealthState, check: ContainerCheck): number {
  if (state.hasPassed) return check.intervalMs;
  if (!check.rampsUp) return check.startIntervalMs;
  const step = firstStartIntervalMs * 2 ** Math.max(0, state.failures - 1);
  return Math.min(check.startIntervalMs, step);
}

/** `begunAfterMs`: from the container's start to the begin of the check. */
export function afterCheck(
  state: HealthState,
  outcome: CheckOutcome,
  check: ContainerCheck,
  begunAfterMs: number,
): HealthState {
  if (outcome.kind === 'passed') return { health: 'healthy', hasPassed: true, failures: 0, countedFailures: 0 };
  const countedFailures = state.countedFailures + (counts(state, check, begunAfterMs) ? 1 : 0);
  return {
    health: countedFailures >= check.retries ? 'unhealthy' : state.health,
    hasPassed: state.hasPassed,
    failures: state.failures + 1,
    countedFailures,
    why: outcome.why,
  };
}

/**
 * Until the first success checks are more frequent than the file asks for, only to see that success sooner. They must not
 * make a container unhealthy that Docker would still wait for: failures count one an interval, once the start period is over.
 */
function counts(state: HealthState, check: ContainerCheck, begunAfterMs: number): boolean {
  if (state.hasPassed) return true;
  return begunAfterMs >= check.startPeriodMs + (state.countedFailures + 1) * check.intervalMs;
}

/** Whether `next` says anything that those who were told `told` must know. */
export function isHealthNews(told: HealthState, next: HealthState): boolean {
  if (told.health !== next.health || told.hasPassed !== next.hasPassed) return true;
  // While it starts, why it does not get further is all there is to say of it.
  return next.health === 'starting' && told.why !== next.why;
}

/** For people; undefined when all is well. */
export function healthReason({ health, failures, why }: HealthState): string | undefined {
  if (why === undefined || health === 'healthy') return undefined;
  if (health === 'starting') return `its health check has not succeeded yet: ${why}`;
  return failures === 1
    ? `unhealthy: 1 check failed: ${why}`
    : `unhealthy: ${String(failures)} checks failed, the last: ${why}`;
}

/** What a check that ran to its end, or to its timeout, says. */
export function outcomeOf(
  result:
    | { readonly kind: 'exited'; readonly exitCode: number; readonly output: string }
    | { readonly kind: 'timed-out'; readonly output: string },
  timeoutMs: number,
): CheckOutcome {
  if (result.kind === 'exited' && result.exitCode === 0) return { kind: 'passed' };
  const how =
    result.kind === 'exited' ? `exit code ${String(result.exitCode)}` : `no end within ${String(timeoutMs / 1000)} s`;
  const line = lastLine(result.output);
  return { kind: 'failed', why: line === '' ? how : `${how}: ${line}` };
}

/** The last line usually says what is wrong. */
function lastLine(output: string): string {
  const lines = output.split('\n').map((line) => line.trim());
  return (lines.findLast((line) => line !== '') ?? '').slice(0, maxOutputLength);
}
