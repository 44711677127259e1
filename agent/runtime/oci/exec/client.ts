/** The runtime's client of one command (`runc exec`), with pipes or with a terminal: one shape for both. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { PassThrough, Readable, Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { FrotaError, describeError } from '../../../../proto/base/errors.ts';
import { run } from '../../../host/programs.ts';
import type { TerminalSize } from '../../runtime.ts';

export interface Client {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  resize(columns: number, rows: number): void;
  /** Its end, by a code or by a signal (`code` is null), or that it could not be started at all. */
  readonly ended: Promise<{ readonly code: number | null; readonly error?: Error }>;
  signal(name: NodeJS.Signals): void;
}

/** A client needs nothing of the agent's environment, which may hold a join token. */
const clientEnvironment = (): NodeJS.ProcessEnv => ({
  PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
});

export function startPipeClient(program: string, args: readonly string[]): Client {
  const child = spawn(program, args, { env: clientEnvironment(), stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = endOf(child);
  // EPIPE when the command ends without reading its input: its exit code tells the story.
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on('error', () => undefined);
  return {
    stdin: child.stdin,
    stdout: kept(child.stdout),
    stderr: kept(child.stderr),
    resize: () => undefined,
    ended,
    signal: (name) => void child.kill(name),
  };
}

/** Node reads a child's output to nowhere once it has ended and nobody has begun to read: here it waits for its reader. */
function kept(stream: Readable): Readable {
  const output = stream.pipe(new PassThrough());
  // A reader that goes away must not hold the command back for ever.
  output.once('close', () => stream.resume());
  return output;
}

/** The part of node-pty's native module that is used here (version 1.1.0). */
interface PtyBinding {
  open(columns: number, rows: number): { readonly master: number; readonly slave: number; readonly pty: string };
  resize(fd: number, columns: number, rows: number): void;
}

/** What every terminal began with. */
const defaultSize: TerminalSize = { columns: 80, rows: 24 };
/** ioctl(TIOCSWINSZ) takes 16 bits. */
const maxSize = 65_535;

/**
 * The client gets a pseudo-terminal of the host, which it couples to one of the container. The pair is opened here and
 * the client started by Node itself, not by node-pty's `spawn`: that one drops what has not been read 200 ms after the
 * end, so a slow reader would lose the last lines.
 */
export async function startTerminalClient(
  program: string,
  args: readonly string[],
  size: TerminalSize | undefined,
): Promise<Client> {
  const binding = loadBinding();
  const { columns, rows } = size ?? defaultSize;
  const { master, slave, pty } = binding.open(inBounds(columns), inBounds(rows));
  const terminal = new ReadStream(master);
  let child: ChildProcess;
  try {
    // Before the client comes to it: nothing is echoed twice, no key is made a signal on the way.
    await run('stty', ['-F', pty, 'raw', '-echo', 'opost', 'onlcr']);
    child = spawn(program, args, { env: clientEnvironment(), stdio: [slave, slave, slave], detached: true });
  } catch (error) {
    terminal.destroy();
    throw error;
  } finally {
    closeSync(slave);
  }
  const ended = endOf(child);
  return {
    stdin: inputOf(terminal),
    stdout: outputOf(terminal),
    stderr: Readable.from([]),
    resize: (newColumns, newRows) => {
      if (terminal.destroyed) return;
      binding.resize(master, inBounds(newColumns), inBounds(newRows));
      // The kernel tells only those whose controlling terminal it is.
      child.kill('SIGWINCH');
    },
    ended,
    signal: (name) => void child.kill(name),
  };
}

/** A terminal has no end of input but a key; what is typed after the end of the command is lost with it. */
function inputOf(terminal: ReadStream): Writable {
  return new Writable({
    write: (chunk: Buffer, _encoding, callback) => {
      if (terminal.destroyed) callback();
      else {
        terminal.write(chunk, () => {
          callback();
        });
      }
    },
  });
}

/** The terminal's reading side as a stream that ends: the kernel says EIO once nobody has the other side open. */
function outputOf(terminal: ReadStream): Readable {
  const output = new PassThrough();
  const end = (): void => {
    if (!output.writableEnded) output.end();
    terminal.destroy();
  };
  terminal.on('data', (chunk: Buffer) => {
    if (!output.write(chunk)) terminal.pause();
  });
  output.on('drain', () => terminal.resume());
  // As above.
  output.once('close', () => terminal.resume());
  terminal.on('error', end);
  terminal.on('end', end);
  terminal.on('close', end);
  return output;
}

const inBounds = (value: number): number => Math.min(maxSize, Math.max(1, Math.trunc(value)));

/** Loaded when the first terminal is asked for: most nodes never need it. */
function loadBinding(): PtyBinding {
  try {
    const require = createRequire(createRequire(import.meta.url).resolve('@lydell/node-pty'));
    return require(`@lydell/node-pty-${process.platform}-${process.arch}/pty.node`) as PtyBinding;
  } catch (cause) {
    throw new FrotaError('unsupported', `no terminals on this node: ${describeError(cause)}`, { cause });
  }
}

function endOf(child: ChildProcess): Client['ended'] {
  return new Promise((resolve) => {
    child.on('error', (error) => {
      // Also said of a signal that could not be sent; then it still runs.
      if (child.pid === undefined) resolve({ code: null, error });
    });
    child.once('exit', (code) => {
      resolve({ code });
    });
  });
}
