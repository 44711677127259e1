/** Orders to undo and their outcomes on disk: what survives the agent, the undoing process and the power. */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { undoOrderSuffix } from '../../proto/domain/drill-orders.ts';
import type { UndoOrder, UndoOutcome } from '../../proto/domain/drill.ts';
import { writeFileDurably } from '../host/durable-file.ts';

const outcomeSuffix = '.undone.json';

export const orderFile = (folder: string, drillId: string): string => join(folder, `${drillId}${undoOrderSuffix}`);
const outcomeFileOf = (order: string): string => `${order.slice(0, -undoOrderSuffix.length)}${outcomeSuffix}`;

/** Returns the file's path. */
export async function writeOrder(folder: string, order: UndoOrder): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = orderFile(folder, order.drillId);
  await writeFileDurably(file, JSON.stringify(order));
  return file;
}

/** Undefined where there is none, or none that can be read. */
export const readOrder = (file: string): Promise<UndoOrder | undefined> => readJson<UndoOrder>(file);

/** Of the order in that file; undefined: it is not undone. */
export const readOutcome = (order: string): Promise<UndoOutcome | undefined> =>
  readJson<UndoOutcome>(outcomeFileOf(order));

export const writeOutcome = (order: string, outcome: UndoOutcome): Promise<void> =>
  writeFileDurably(outcomeFileOf(order), JSON.stringify(outcome));

export async function removeOrder(file: string): Promise<void> {
  await rm(file, { force: true });
  await rm(outcomeFileOf(file), { force: true });
}

/** Files of all orders, undone or not. */
export async function listOrders(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name.endsWith(undoOrderSuffix)).map((name) => join(folder, name));
}

/** Until the fault is to be undone, ms, at `nowMs` of the wall clock: whichever is less, as one that was set back must not keep the fault. */
export const undoDueInMs = ({ withinMs, dueAtMs }: UndoOrder, nowMs: number): number =>
  Math.min(withinMs, Math.max(0, dueAtMs - nowMs));

async function readJson<T>(file: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as T;
  } catch {
    return undefined;
  }
}
