/** What one fault under load cost, whoever had to make it good: the words that Frota and its peers are compared in. */

export interface Loss {
  /** From the beginning of the fault to the first answer of the last replacement, ms. */
  readonly answeringMs: number;
  /** From the beginning of the fault to the moment the last request that failed was given up, ms; 0: none failed. */
  readonly lastFailureMs: number;
  readonly sent: number;
  readonly failed: number;
}

/** The same for all: the load of the scripts that measured Docker Swarm before, and their definition of failed. */
export const perSecond = Number(process.env['RATE'] ?? '50');
export const answerWithinMs = 1_000;
export const replicas = 6;
export const nodeNames = ['n1', 'n2', 'n3', 'n4'] as const;
/** The load runs for so long before the fault. */
export const marginMs = 1_500;

interface SeenLoad {
  readonly sent: number;
  readonly answered: number;
  readonly firstAnswerAtMs: ReadonlyMap<string, number>;
  readonly failedAtMs: readonly number[];
}

/** `replacements` are the host names that answer for what was lost. A replacement that never answered makes it infinite. */
export function lossOf(faultAtMs: number, seen: SeenLoad, replacements: readonly string[]): Loss {
  const answers = replacements.map((host) => seen.firstAnswerAtMs.get(host) ?? Infinity);
  return {
    answeringMs: Math.max(...answers) - faultAtMs,
    lastFailureMs: Math.max(0, (seen.failedAtMs.at(-1) ?? faultAtMs) - faultAtMs),
    sent: seen.sent,
    failed: seen.sent - seen.answered,
  };
}
