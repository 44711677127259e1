/** Undoing a fault, step by step. Every step may be done again: whoever is in doubt does it. */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../proto/base/errors.ts';
import type { UndoOrder, UndoStep } from '../../proto/domain/drill.ts';
import { detectCgroupLayout, makeCgroup, moveToCgroup } from '../host/cgroups.ts';
import { readBootId, sendSignal } from '../host/processes.ts';
import { run } from '../host/programs.ts';
import { thaw } from './freezer.ts';
import { runsAlready } from './running-program.ts';

/** A program that fails on a busy machine succeeds a moment later; a fault that stays is worse than a late undo. */
const maxAttempts = 5;
const retryMs = 500;
/** A supervisor starts what was killed within a second. */
const restartWithinMs = 5_000;
const restartPollMs = 100;

/** Never throws: what could not be done is returned, for people. `home`: the control group of a program that is to run again. */
export async function undo(order: UndoOrder, home = '/'): Promise<readonly string[]> {
  const problems: string[] = [];
  for (const step of order.steps) {
    for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
      try {
        problems.push(...(await undoStep(step, home)));
        break;
      } catch (error) {
        if (attempt === maxAttempts) problems.push(`${step.kind}: ${describeError(error)}`);
        else await sleep(retryMs);
      }
    }
  }
  return problems;
}

/** Returns what a person should know. */
async function undoStep(step: UndoStep, home: string): Promise<readonly string[]> {
  switch (step.kind) {
    case 'delete-table':
      // `add` first: the table may be gone, or may never have been made.
      await run('nft', ['-f', '-'], { input: `add table inet ${step.table}\ndelete table inet ${step.table}\n` });
      return [];
    case 'thaw':
      await thaw(step.cgroups);
      return [];
    case 'continue': {
      const bootId = await readBootId();
      await sendSignal({ pid: step.pid, startTicks: step.startTicks, bootId }, 'SIGCONT', bootId);
      return [];
    }
    case 'run-again':
      return runAgain(step, home);
  }
}

async function runAgain(
  { program, cwd }: Extract<UndoStep, { kind: 'run-again' }>,
  home: string,
): Promise<readonly string[]> {
  for (let waitedMs = 0; waitedMs < restartWithinMs; waitedMs += restartPollMs) {
    if (await runsAlready(program)) return [];
    await sleep(restartPollMs);
  }
  const layout = await detectCgroupLayout();
  await makeCgroup(layout, home);
  // A child begins where its parent is.
  await moveToCgroup(layout, home, process.pid);
  const [command = '', ...args] = program;
  const child = spawn(command, args, { cwd, detached: true, stdio: 'ignore' });
  child.on('error', () => undefined);
  child.unref();
  return [`no supervisor had started it again within ${String(restartWithinMs)} ms: the drill did`];
}
