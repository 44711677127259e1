/** Whether a program runs, known by its arguments. */
import { readdir } from 'node:fs/promises';
import { readCommandLine } from '../host/processes.ts';

/** True if any process has exactly these arguments, its program's name included. */
export async function runsAlready(program: readonly string[]): Promise<boolean> {
  const wanted = program.join('\0');
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/u.test(name)).map(Number);
  for (const pid of pids) if ((await readCommandLine(pid)).join('\0') === wanted) return true;
  return false;
}
