/** Lines of logs as people and scripts read them. */
import type { LogSource, SourcedLine } from '../../proto/codec/streams.ts';
import type { Colours } from './colours.ts';

export interface LogLook {
  readonly json: boolean;
  readonly prefix: boolean;
  readonly timestamps: boolean;
}

/** One after the other for tasks as they appear; red is for errors. */
const paints = ['cyan', 'yellow', 'green', 'magenta', 'blue', 'cyanBright', 'yellowBright', 'greenBright'] as const;
const newline = Buffer.from('\n');

export class LogPrinter {
  readonly #look: LogLook;
  readonly #colours: Colours;
  readonly #sources = new Map<number, LogSource>();
  #width = 0;

  constructor(look: LogLook, colours: Colours) {
    this.#look = look;
    this.#colours = colours;
  }

  add(source: LogSource): void {
    this.#sources.set(source.index, source);
    this.#width = Math.max(this.#width, nameOf(source).length);
  }

  /** The bytes to print; what the container wrote is in them as it is. */
  bytes(lines: readonly SourcedLine[]): Uint8Array {
    return Buffer.concat(lines.flatMap((line) => this.#parts(line)));
  }

  #parts({ source: index, line }: SourcedLine): readonly Uint8Array[] {
    const source = this.#sources.get(index);
    if (source === undefined) return [];
    if (this.#look.json) {
      const { taskId: task, stack, service, slot, node } = source;
      const { time, stream, text } = line;
      const message = Buffer.from(text).toString('utf8');
      return [Buffer.from(`${JSON.stringify({ time, stack, service, slot, task, node, stream, message })}\n`)];
    }
    const paint = this.#colours[paints[index % paints.length] ?? 'cyan'];
    const prefix = this.#look.prefix ? paint(`${nameOf(source).padEnd(this.#width)} | `) : '';
    const time = this.#look.timestamps ? `${line.time} ` : '';
    return [Buffer.from(`${prefix}${time}`), line.text, newline];
  }
}

const nameOf = ({ service, slot, node }: LogSource): string => `${service}.${String(slot)}@${node}`;
