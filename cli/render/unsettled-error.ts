/** The error that ends a wait: why it is not as declared, and the last lines of what failed. */
import { FrotaError } from '../../proto/base/errors.ts';
import type { ErrorCode, Problem } from '../../proto/base/errors.ts';
import type { OutputStream } from '../../proto/domain/logs.ts';
import type { Colours } from './colours.ts';
import { printable } from './text.ts';

/** What a task wrote last. The object of `-o json`. */
export interface TaskLog {
  readonly task: string;
  readonly stack: string;
  readonly service: string;
  readonly slot: number;
  readonly node: string | null;
  readonly lines: readonly LastLine[];
  /** Why there are none, or not all; null: these are the last ones. */
  readonly missing: string | null;
}

export interface LastLine {
  /** As in `LogLine.time`. */
  readonly time: string;
  readonly stream: OutputStream;
  readonly message: string;
}

export class UnsettledError extends FrotaError {
  readonly logs: readonly TaskLog[];

  constructor(
    code: ErrorCode,
    message: string,
    given: { readonly problems: readonly Problem[]; readonly logs: readonly TaskLog[]; readonly cause?: unknown },
  ) {
    super(code, message, { problems: given.problems, ...(given.cause === undefined ? {} : { cause: given.cause }) });
    this.logs = given.logs;
  }
}

/** A line that is longer says no more at a terminal. */
const maxShownLength = 400;

export function logText({ task, stack, service, slot, node, lines, missing }: TaskLog, colours: Colours): string {
  const name = `${stack}/${service}.${String(slot)}${node === null ? '' : ` on ${node}`}`;
  const nothing = missing === null ? `${name} wrote nothing` : `no lines of ${name}`;
  const head = lines.length === 0 ? nothing : `the last lines of ${name}`;
  const why = missing === null ? '' : `: ${printable(missing)}`;
  const shown = lines.map(({ message }) => `  ${colours.dim('|')} ${printable(message.slice(0, maxShownLength))}\n`);
  return `${colours.bold(head)} ${colours.dim(`(task ${task})`)}${why}\n${shown.join('')}`;
}
