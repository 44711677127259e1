/** Waiting for the programs of a local cluster, each with a limit and, when it is exceeded, the end of the log that says why. */
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { NodeState } from '../../proto/domain/node.ts';
import { FrotaError } from '../../proto/base/errors.ts';
import { endOfLog } from './launch.ts';
import { adminContextFile, logFileOf, type Part } from './parts.ts';
import { isAlive, readPidRecord } from './pid-records.ts';
import { controllerId, type Place } from './place.ts';
import type { ContextEntry, ControlClient, NodeStanding } from './ports.ts';

const pollMs = 50;
const nodePollMs = 200;
/** A controller makes its keys at the first start; on a busy test machine that takes seconds. */
const startTimeoutMs = 60_000;
const nodesTimeoutMs = 90_000;
const connectTimeoutMs = 1_000;

/** Asks `look` until it returns something. @throws FrotaError `deadline`, `cancelled` */
async function waitFor<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
  limits: {
    readonly signal: AbortSignal;
    readonly logFile?: string;
    readonly timeoutMs?: number;
    readonly everyMs?: number;
  },
): Promise<T> {
  const { signal, logFile, timeoutMs = startTimeoutMs, everyMs = pollMs } = limits;
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    if (signal.aborted) throw new FrotaError('cancelled', `waiting for ${what}: cancelled`);
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadlineMs) {
      const said = logFile === undefined ? '' : await endOfLog(logFile);
      const reason = said === '' ? '' : `; ${logFile ?? ''} ends with:\n${said}`;
      throw new FrotaError('deadline', `waited ${timeoutMs / 1000} s for ${what}${reason}`);
    }
    await delay(everyMs, undefined, { signal }).catch(() => undefined);
  }
}

export async function waitForPart(part: Part, signal: AbortSignal): Promise<void> {
  const { pidFile, logFile } = part.launch;
  await waitFor(`${part.id} to start`, () => (isAlive(readPidRecord(pidFile)) ? true : undefined), { signal, logFile });
}

/** What the controller writes into its folder at its first start. */
export async function waitForAdminContext(
  place: Place,
  signal: AbortSignal,
): Promise<Pick<ContextEntry, 'addresses' | 'ca' | 'certificate' | 'key'>> {
  const file = adminContextFile(place);
  const look = async (): Promise<string | undefined> => readFile(file, 'utf8').catch(() => undefined);
  const text = await waitFor(`the controller to write ${file}`, look, {
    signal,
    logFile: logFileOf(place, controllerId),
  });
  try {
    const { addresses, ca, certificate, key } = JSON.parse(text) as Partial<ContextEntry>;
    if (Array.isArray(addresses) && ca !== undefined && certificate !== undefined && key !== undefined) {
      return { addresses, ca, certificate, key };
    }
  } catch (error) {
    throw new FrotaError('corrupt', `${file} is damaged`, { cause: error });
  }
  throw new FrotaError('corrupt', `${file} lacks an address or a part of the certificate`);
}

export async function waitForListener(host: string, port: number, logFile: string, signal: AbortSignal): Promise<void> {
  await waitFor(`an answer from ${host}:${port}`, () => answers(host, port), { signal, logFile });
}

function answers(host: string, port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: connectTimeoutMs });
    const settle = (result: true | undefined): void => {
      socket.destroy();
      resolve(result);
    };
    socket.on('connect', () => settle(true));
    socket.on('timeout', () => settle(undefined));
    socket.on('error', () => settle(undefined));
  });
}

/** The state of every node when all of `agents` are ready. */
export async function waitForNodes(
  client: ControlClient,
  agents: readonly Part[],
  given: {
    readonly onNodes: (nodes: readonly NodeStanding[]) => void;
    readonly timeoutMs: number | undefined;
    readonly signal: AbortSignal;
  },
): Promise<ReadonlyMap<string, NodeState>> {
  const { onNodes, timeoutMs = nodesTimeoutMs, signal } = given;
  let seen: ReadonlyMap<string, NodeState> = new Map();
  const lagging = (): Part | undefined => agents.find((part) => seen.get(part.id) !== 'ready');
  const look = async (): Promise<ReadonlyMap<string, NodeState> | undefined> => {
    seen = (await readStates(client, signal)) ?? seen;
    onNodes(agents.map(({ id }) => ({ name: id, state: seen.get(id) ?? 'starting' })));
    return lagging() === undefined ? seen : undefined;
  };
  try {
    return await waitFor('all nodes to be ready', look, { signal, timeoutMs, everyMs: nodePollMs });
  } catch (error) {
    const late = lagging();
    if (late === undefined || FrotaError.from(error).code !== 'deadline') throw error;
    const state = seen.get(late.id) ?? 'unknown to the controller';
    const end = await endOfLog(late.launch.logFile);
    const message = `node ${late.id} is ${state} after ${timeoutMs / 1000} s; ${late.launch.logFile} ends with:\n${end}`;
    throw new FrotaError('deadline', message, { cause: error });
  }
}

/** What the controller knows of its nodes, by their names, as soon as it answers. */
export async function waitForStates(
  client: ControlClient,
  logFile: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, NodeState>> {
  return waitFor('the controller to answer', () => readStates(client, signal), {
    signal,
    logFile,
    everyMs: nodePollMs,
  });
}

/** Undefined while it does not answer: a controller that is just being started again does so a moment later. */
async function readStates(
  client: ControlClient,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, NodeState> | undefined> {
  try {
    return new Map((await client.listNodes(signal)).map((node) => [node.name, node.state]));
  } catch (error) {
    if (FrotaError.from(error).code === 'unavailable') return undefined;
    throw error;
  }
}
