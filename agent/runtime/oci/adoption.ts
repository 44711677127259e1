/** What a start of the agent finds: containers that outlived the last one, their exits, and what a crash left half-made. */
import { readdir } from 'node:fs/promises';
import { describeError } from '../../../proto/base/errors.ts';
import { isRunning } from '../../host/processes.ts';
import { run } from '../../host/programs.ts';
import { readExit } from './container-exit.ts';
import { readRecord, writeRecord, type ContainerRecord } from './container-record.ts';
import type { CreationContext } from './creation.ts';
import { isContainerId } from './folders.ts';
import { removeContainer, sweepStrays } from './removal.ts';

/** `state` takes some 10 ms. */
const stateTimeoutMs = 10_000;

/** Every whole container, with its exit if it has ended; half-made ones and strays are removed. */
export async function adoptContainers(context: CreationContext): Promise<readonly ContainerRecord[]> {
  const records: ContainerRecord[] = [];
  const found = new Set<string>();
  for (const id of await readdir(context.folders.containers)) {
    if (!isContainerId(id)) continue;
    found.add(id);
    const record = await readRecord(context.folders.container(id).record);
    if (record === undefined) await removeHalfMade(id, context);
    else records.push(await adopt(record, context));
  }
  await sweepStrays(found, context, context.containersCgroup);
  return records;
}

async function adopt(record: ContainerRecord, context: CreationContext): Promise<ContainerRecord> {
  if (record.exit !== undefined) return record;
  const settled = record.phase === 'starting' ? await settleStart(record, context) : record;
  const exit = await readExit(settled, { ...context, cgroupPath: context.cgroupPath(record.id) });
  const adopted = exit === undefined ? settled : { ...settled, exit };
  if (adopted !== record) {
    await writeRecord(context.folders.container(record.id).record, adopted, false).catch((error: unknown) => {
      // It is looked up again at the next start; a full disk must not keep the agent from the other containers.
      context.logger.warn({ container: record.id, error: describeError(error) }, 'what was found is not recorded');
    });
  }
  return adopted;
}

/** The agent died while it started this one: whether it did, only the runtime knows. */
async function settleStart(record: ContainerRecord, context: CreationContext): Promise<ContainerRecord> {
  if (!(await isRunning(record.process, context.bootId))) return { ...record, phase: 'started' };
  const program = context.runtimes.get(record.runtime) ?? record.runtime;
  const root = context.folders.runtimeRoot(record.runtime);
  try {
    const { stdout } = await run(program, ['--root', root, 'state', record.id], { timeoutMs: stateTimeoutMs });
    const { status } = JSON.parse(stdout) as { readonly status?: unknown };
    if (status !== 'created') return { ...record, phase: 'started' };
  } catch (error) {
    // One container that the runtime can't tell of must not keep the agent from the others; its process is alive.
    context.logger.warn({ container: record.id, error: describeError(error) }, 'the runtime does not know its state');
    return { ...record, phase: 'started' };
  }
  const { startedAtMs: _, ...created } = record;
  return { ...created, phase: 'created' };
}

async function removeHalfMade(id: string, context: CreationContext): Promise<void> {
  try {
    await removeContainer(id, undefined, context);
    context.logger.info({ container: id }, 'removed a half-made container');
  } catch (error) {
    context.logger.warn({ container: id, error: describeError(error) }, 'a half-made container could not be removed');
  }
}
