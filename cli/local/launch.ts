/** Starts one program of a local cluster: in its namespace and its cgroup before its first instruction, with a log file. */
import { spawn } from 'node:child_process';
import { closeSync, copyFileSync, openSync, statSync, truncateSync } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ensureGroup } from './cgroups.ts';
import { namespaceFolder } from './place.ts';
import { writeRecordScript } from './pid-records.ts';

export interface Launch {
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Name of a network namespace; without it the host's own. */
  readonly namespace?: string;
  readonly cgroup: string;
  readonly pidFile: string;
  readonly logFile: string;
}

/** Two files of this size for each program: enough to find a cause in, never enough to fill a disk. */
const maxLogBytes = 16 * 1024 * 1024;
/** A program that can not be started leaves this many bytes of reason in its log's end. */
const reasonBytes = 2_000;

const script = [
  `${writeRecordScript} && shift`,
  'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 125; shift; done',
  'shift; exec "$@"',
].join('; ');

/** Returns when the process has been started, which says nothing about its success; it outlives the caller. */
export async function launch(wanted: Launch): Promise<void> {
  await mkdir(dirname(wanted.pidFile), { recursive: true });
  await mkdir(dirname(wanted.logFile), { recursive: true });
  const groups = await ensureGroup(wanted.cgroup);
  const inNamespace =
    wanted.namespace === undefined ? [] : ['nsenter', `--net=${join(namespaceFolder, wanted.namespace)}`, '--'];
  const log = openSync(wanted.logFile, 'a', 0o640);
  try {
    const args = ['-c', script, 'sh', wanted.pidFile, ...groups, '--', ...inNamespace, ...wanted.argv];
    const child = spawn('/bin/sh', args, { detached: true, cwd: '/', env: wanted.env, stdio: ['ignore', log, log] });
    child.on('error', () => undefined);
    child.unref();
  } finally {
    closeSync(log);
  }
}

/** Keeps a log bounded. The program has it open for appending, so the content is moved and the file stays. */
export function boundLog(file: string): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= maxLogBytes) return;
  try {
    copyFileSync(file, `${file}.1`);
  } finally {
    // Also when the copy fails: on a full disk this is what makes room.
    truncateSync(file);
  }
}

/** The end of a log, for an error message; empty when there is none. */
export async function endOfLog(file: string): Promise<string> {
  const handle = await open(file).catch(() => undefined);
  if (handle === undefined) return '';
  try {
    const { size } = await handle.stat();
    const { buffer, bytesRead } = await handle.read(
      Buffer.alloc(reasonBytes),
      0,
      reasonBytes,
      Math.max(0, size - reasonBytes),
    );
    return buffer.toString('utf8', 0, bytesRead).trim().split('\n').slice(-5).join('\n');
  } finally {
    await handle.close();
  }
}
