/**
 * The supervisor of one local cluster: starts its programs and starts them again when they end. It finds them by their pid
 * records, not as its children, so that a new supervisor goes on where one that was killed left off.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../proto/base/log.ts';
import { describeError } from '../../proto/base/errors.ts';
import { killGroup } from './cgroups.ts';
import { boundLog, launch } from './launch.ts';
import { partsOf, supervisorId, logFileOf, type Part } from './parts.ts';
import { isAlive, readPidRecord, stopRecorded } from './pid-records.ts';
import { addressesIn, controllerId, namespaceOf, type Place } from './place.ts';
import { call } from './programs.ts';
import { readRecord, type ClusterRecord } from './record.ts';

/** Well below the second within which a dead agent or controller must be started again. */
const pollMs = 200;
/** Delay before each further start of a program that keeps ending; the last one repeats. */
const restartDelaysMs = [0, 250, 500, 900];
/** A program that ran this long has recovered: its next end is the first again. */
const recoveredAfterMs = 5_000;
/** Routes and log sizes are looked at once in so many rounds, about a second. */
const slowEvery = 5;
const agentGraceMs = 10_000;

interface PartState {
  restarts: number;
  startedMs: number;
}

export interface SuperviseOptions {
  readonly place: Place;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
  /** Aborted by SIGTERM: stop everything in order and return. */
  readonly signal: AbortSignal;
}

export async function supervise(options: SuperviseOptions): Promise<void> {
  const { place, env, log, signal } = options;
  const states = new Map<string, PartState>();
  for (let round = 0; !signal.aborted; round += 1) {
    try {
      const record = await readRecord(place);
      // The folders were removed under us: there is nothing left to supervise.
      if (record === undefined) return;
      const parts = partsOf(place, record, env);
      for (const part of parts) {
        // One part that can't be started or killed must not keep the others from being looked after.
        await keepRunning(part, states, log).catch((error: unknown) => {
          log.error({ part: part.id, error: describeError(error) }, 'could not be started; tried again');
        });
      }
      if (round % slowEvery === 0) await lookAfter(place, record, parts);
    } catch (error) {
      log.error({ error: describeError(error) }, 'a round failed; the next one tries again');
    }
    await delay(pollMs, undefined, { signal }).catch(() => undefined);
  }
  await stopParts(place, env, log);
}

async function keepRunning(part: Part, states: Map<string, PartState>, log: Logger): Promise<void> {
  if (isAlive(readPidRecord(part.launch.pidFile))) return;
  const nowMs = performance.now();
  const state = states.get(part.id) ?? { restarts: 0, startedMs: -Infinity };
  const restarts = nowMs - state.startedMs > recoveredAfterMs ? 0 : state.restarts;
  const waitMs = restartDelaysMs[Math.min(restarts, restartDelaysMs.length - 1)] ?? 0;
  if (nowMs < state.startedMs + waitMs) return;
  states.set(part.id, { restarts: restarts + 1, startedMs: nowMs });
  log.info({ part: part.id, restarts }, 'starting');
  // What the dead one left in its own group (an unpacking tar, say) would work against its successor.
  await killGroup(part.launch.cgroup);
  await launch(part.launch);
  // The record is written by the started process itself; wait for it, or the next round would start a second one.
  for (let waits = 0; waits < 50 && !isAlive(readPidRecord(part.launch.pidFile)); waits += 1) await delay(10);
}

async function lookAfter(place: Place, record: ClusterRecord, parts: readonly Part[]): Promise<void> {
  for (const part of parts) boundLog(part.launch.logFile);
  boundLog(logFileOf(place, supervisorId));
  for (const part of parts) await restoreDefaultRoute(place, record, part);
}

/** A default route goes with its link and does not come back with it; on a real machine the network's own service restores it. */
async function restoreDefaultRoute(place: Place, record: ClusterRecord, part: Part): Promise<void> {
  if (part.launch.namespace === undefined) return;
  const pid = readPidRecord(part.launch.pidFile)?.pid;
  // The table as the program in the namespace sees it: far cheaper than starting `ip` every second.
  const table = pid === undefined ? '' : await readFile(`/proc/${pid}/net/route`, 'utf8').catch(() => '');
  const routes = table
    .split('\n')
    .slice(1)
    .map((line) => line.split('\t'));
  const onEth0 = routes.filter(([link]) => link === 'eth0');
  if (onEth0.length === 0 || routes.some(([, destination]) => destination === '00000000')) return;
  const { host } = addressesIn(record.subnet);
  const args = ['-n', namespaceOf(place, part.id), 'route', 'replace', 'default', 'via', host, 'dev', 'eth0'];
  await call('ip', args, { allowedCodes: [0, 1, 2] });
}

/** Agents together, then the controller, so that it hears them leave; the registry last. */
async function stopParts(place: Place, env: NodeJS.ProcessEnv, log: Logger): Promise<void> {
  const record = await readRecord(place).catch(() => undefined);
  if (record === undefined) return;
  const parts = partsOf(place, record, env);
  const agents = parts.filter((part) => record.nodes.includes(part.id));
  log.info({ parts: parts.map((part) => part.id) }, 'stopping');
  await Promise.all(agents.map((part) => stopRecorded(readPidRecord(part.launch.pidFile), agentGraceMs)));
  for (const id of [controllerId, ...parts.map((part) => part.id)]) {
    const part = parts.find((each) => each.id === id);
    if (part !== undefined) await stopRecorded(readPidRecord(part.launch.pidFile), agentGraceMs);
  }
}
