import type { ErrorCode } from '../../proto/base/errors.ts';

/** Exit statuses of the CLI; `frota --help` and `docs/compose.md` tell them to people. */
export const exitStatus = {
  done: 0,
  failed: 1,
  /** Wrong verb, flag or argument, or a file with problems: what was typed or written must change. */
  invalid: 2,
  /** Accepted, but not reached: not within `--timeout`, or not at all unless somebody does something. */
  notConverged: 3,
  notFound: 4,
  /** The controller, or what it needs (a registry), can't be reached; or it does not know this person. */
  unreachable: 5,
  /** A drill was carried through, and something was not as it should be. */
  drillFailed: 6,
  /** A drill was stopped, or could not be carried through. */
  drillAborted: 7,
  /** A drill was not begun. */
  drillRefused: 8,
  /** Ctrl-C: 128 and the number of SIGINT, as shells have it. */
  interrupted: 130,
} as const;

export const exitStatusOf: Readonly<Record<ErrorCode, number>> = {
  invalid: exitStatus.invalid,
  unauthenticated: exitStatus.unreachable,
  forbidden: exitStatus.failed,
  'not-found': exitStatus.notFound,
  'already-exists': exitStatus.failed,
  conflict: exitStatus.failed,
  stuck: exitStatus.notConverged,
  exhausted: exitStatus.failed,
  unavailable: exitStatus.unreachable,
  deadline: exitStatus.notConverged,
  cancelled: exitStatus.interrupted,
  corrupt: exitStatus.failed,
  unsupported: exitStatus.failed,
  internal: exitStatus.failed,
};
