/** Composition root of the CLI: joins the process to the commands' ports. */
import { addAbortSignal } from 'node:stream';
import { exitStatus } from './commands/exit-status.ts';
import type { Host, Terminal } from './commands/host.ts';
import { run } from './commands/program.ts';
import { coloursFor } from './render/colours.ts';

function processTerminal(): Terminal {
  const { stdout, stderr } = process;
  return {
    out: (text) => {
      stdout.write(text);
    },
    err: (text) => {
      stderr.write(text);
    },
    write: (chunk, stream) =>
      new Promise((resolve) => {
        const target = stream === 'out' ? stdout : stderr;
        if (target.write(chunk)) resolve();
        else target.once('drain', resolve);
      }),
    person: () => {
      const { stdin } = process;
      if (!stdin.isTTY || !stdout.isTTY) return undefined;
      return {
        size: () => ({ columns: stdout.columns, rows: stdout.rows }),
        onResize: (listener) => {
          stdout.on('resize', listener);
          return () => void stdout.off('resize', listener);
        },
        raw: () => {
          stdin.setRawMode(true);
          return () => void stdin.setRawMode(false);
        },
      };
    },
    outColours: coloursFor(stdout.isTTY, process.env),
    errColours: coloursFor(stderr.isTTY, process.env),
    live: async () => {
      // A terminal that does not know its size (a serial line) would be shown nothing: a block is cut to the height.
      if (!stderr.isTTY || stderr.rows === 0 || process.env['TERM'] === 'dumb') return undefined;
      const { createLogUpdate } = await import('log-update');
      const block = createLogUpdate(stderr);
      return {
        write: (text) => {
          block(text);
        },
        finish: () => {
          block.done();
        },
      };
    },
  };
}

/** The first Ctrl-C ends the command in good order, the second at once. */
function interruptSignal(): AbortSignal {
  const stop = new AbortController();
  const onSignal = (): void => {
    if (stop.signal.aborted) process.exit(exitStatus.interrupted);
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return stop.signal;
}

/** `frota ps | head` closes the pipe early: that is no error, and nobody is left to write to. */
function endQuietlyOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(process.exitCode ?? exitStatus.done);
      throw error;
    });
  }
}

function definedVariables(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

endQuietlyOnClosedPipe();
const used = { stdin: false };
const signal = interruptSignal();
const host: Host = {
  terminal: processTerminal(),
  environment: definedVariables(),
  cwd: process.cwd(),
  signal,
  nowMs: () => Date.now(),
  stdin: () => {
    used.stdin = true;
    return addAbortSignal(signal, process.stdin) as AsyncIterable<Uint8Array>;
  },
  connect: async (context) => {
    const { connectControl } = await import('./commands/connect.ts');
    return connectControl(context);
  },
};
process.exitCode = await run(process.argv.slice(2), host);
// What was typed for a command that has ended is nobody's; waiting for more would keep this process.
if (used.stdin) process.stdin.destroy();
