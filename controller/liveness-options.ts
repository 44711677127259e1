/** The options of `frota controller` that say how soon a silent node is given up, and what is wrong with what was given. */
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { parseOptionDurationMs } from '../proto/base/durations.ts';
import { defaultLivenessTimes, minConfirmWithinMs, minSilentHeartbeats } from './liveness/settings.ts';
import type { LivenessTimes } from './liveness/settings.ts';
import { defaultBrake } from './plan/judge-nodes.ts';
import type { Brake } from './plan/snapshot.ts';

/** Milliseconds each. */
export interface LivenessOptions {
  readonly heartbeat: number;
  readonly suspectAfter: number;
  readonly confirmWithin: number;
  readonly agentGrace: number;
  readonly unreachableGrace: number;
  readonly massFailureWindow: number;
  readonly massFailureHold: number;
}

/** More often would cost more than it tells: a look at all nodes comes each 25 ms. */
const minHeartbeatMs = 20;
/** A node that may be silent for longer than this, ms, is better left to people. */
const maxWaitMs = 24 * 3_600_000;

const duration = (text: string): number => {
  const ms = parseOptionDurationMs(text);
  if (ms === undefined || ms > maxWaitMs)
    throw new InvalidArgumentError('give a duration of at most 24h, such as 200ms, 5s or 2m.');
  return ms;
};

const inWords = (ms: number): string => (ms % 1_000 === 0 ? `${String(ms / 1_000)}s` : `${String(ms)}ms`);

export function addLivenessOptions(command: Command): void {
  const add = (flag: string, text: string, defaultMs: number): void => {
    command.addOption(
      new Option(`${flag} <duration>`, text).default(defaultMs, inWords(defaultMs)).argParser(duration),
    );
  };
  const times = defaultLivenessTimes;
  add('--heartbeat', 'how often each node says that it lives', times.heartbeatIntervalMs);
  add('--suspect-after', 'silence after which a node is probed and gets no new tasks', times.suspectAfterMs);
  add('--confirm-within', 'time its answer to the probes may take before it counts as lost', times.confirmWithinMs);
  add(
    '--agent-grace',
    'how long a host that answers without its agent keeps its tasks: agents that restart',
    times.agentGraceMs,
  );
  add('--unreachable-grace', 'how long a node that only its peers hear keeps its tasks', times.unreachableGraceMs);
  add('--mass-failure-window', 'nodes lost within this time count as lost together', defaultBrake.windowMs);
  add(
    '--mass-failure-hold',
    'more than half of the nodes lost together keep their tasks for this long; 0s: not at all',
    defaultBrake.holdMs,
  );
}

/** @returns what is wrong with the options as a whole, for a person; undefined: nothing. */
export function livenessProblem({ heartbeat, suspectAfter, confirmWithin }: LivenessOptions): string | undefined {
  if (heartbeat < minHeartbeatMs)
    return `--heartbeat ${inWords(heartbeat)} is too often; give at least ${inWords(minHeartbeatMs)}`;
  const leastMs = minSilentHeartbeats * heartbeat;
  if (suspectAfter < leastMs)
    return `--suspect-after ${inWords(suspectAfter)} would suspect a node for a single late heartbeat; give at least ${inWords(leastMs)}, ${String(minSilentHeartbeats)} times --heartbeat`;
  if (confirmWithin < minConfirmWithinMs)
    return `--confirm-within ${inWords(confirmWithin)} is too short for the probes; give at least ${inWords(minConfirmWithinMs)}`;
  return undefined;
}

export const livenessTimes = (options: LivenessOptions): LivenessTimes => ({
  heartbeatIntervalMs: options.heartbeat,
  suspectAfterMs: options.suspectAfter,
  confirmWithinMs: options.confirmWithin,
  agentGraceMs: options.agentGrace,
  unreachableGraceMs: options.unreachableGrace,
});

export const brakeOf = ({ massFailureWindow, massFailureHold }: LivenessOptions): Brake => ({
  windowMs: massFailureWindow,
  holdMs: massFailureHold,
});
