/** What a command may use of the process it runs in: everything outside is a port, so that tests run commands whole. */
import type { Command } from 'commander';
import type { ClusterContext } from '../contexts/contexts-file.ts';
import type { Colours } from '../render/colours.ts';
import type { LiveBlock } from '../render/progress.ts';
import type { Control } from './control.ts';

export interface PersonTerminal {
  size(): { readonly columns: number; readonly rows: number };
  /** Until the returned function is called. */
  onResize(listener: () => void): () => void;
  /** Every key goes to the command, Ctrl-C too, until the returned function is called. */
  raw(): () => void;
}

export interface Terminal {
  /** Results only. */
  out(text: string): void;
  /** Progress, notices and errors. */
  err(text: string): void;
  readonly outColours: Colours;
  readonly errColours: Colours;
  /** Bytes as they are; resolves when there is room for more. */
  write(chunk: Uint8Array, stream: 'out' | 'err'): Promise<void>;
  /** The terminal a person sits at; undefined where standard input or output is none. */
  person(): PersonTerminal | undefined;
  /** A block on standard error that can be rewritten; undefined where that is no terminal. */
  live(): Promise<LiveBlock | undefined>;
}

export interface Host {
  readonly terminal: Terminal;
  readonly environment: Readonly<Record<string, string>>;
  /** Working folder; relative paths start here. */
  readonly cwd: string;
  /** Aborts when the person wants the command to end. */
  readonly signal: AbortSignal;
  /** Wall time in milliseconds. */
  nowMs(): number;
  /** Standard input, read as far as it is iterated; it ends with an error when `signal` aborts. */
  stdin(): AsyncIterable<Uint8Array>;
  connect(context: ClusterContext): Promise<Control>;
}

/** Options that every verb takes. */
export interface GlobalOptions {
  readonly context?: string;
  readonly output: 'table' | 'json';
}

export const globalOptions = (command: Command): GlobalOptions => command.optsWithGlobals();

/** Puts the result on standard output, in the form that was asked for. `table` is only called when it is needed. */
export async function printResult(
  host: Host,
  globals: GlobalOptions,
  value: object,
  table: () => string | Promise<string>,
): Promise<void> {
  host.terminal.out(globals.output === 'json' ? `${JSON.stringify(value, null, 2)}\n` : await table());
}

/** Runs `action` with the chosen context's controller and closes the connection whatever happens. */
export async function withControl<T>(
  host: Host,
  globals: GlobalOptions,
  action: (control: Control, contextName: string) => Promise<T>,
): Promise<T> {
  const { chooseContext, configFolder, readContexts } = await import('../contexts/contexts-file.ts');
  const contexts = await readContexts(configFolder(host.environment));
  const { name, context } = chooseContext(contexts, globals.context, host.environment);
  const control = await host.connect(context);
  try {
    return await action(control, name);
  } finally {
    control.close();
  }
}

/** A line on standard error that is neither progress nor an error. */
export const noteTo =
  ({ terminal }: Host) =>
  (text: string): void => {
    terminal.err(`${terminal.errColours.yellow('note:')} ${text}\n`);
  };

/** The `Examples:` part of a verb's help. */
export const examples = (...lines: readonly string[]): string =>
  `\nExamples:\n${lines.map((line) => `  $ frota ${line}\n`).join('')}`;
