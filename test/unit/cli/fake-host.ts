import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Host, PersonTerminal } from '../../../cli/commands/host.ts';
import { run } from '../../../cli/commands/program.ts';
import { upsertContext } from '../../../cli/contexts/contexts-file.ts';
import type { ClusterContext } from '../../../cli/contexts/contexts-file.ts';
import { coloursFor } from '../../../cli/render/colours.ts';
import { FakeControl } from './fake-control.ts';

export const aContext: ClusterContext = {
  addresses: ['10.200.0.2:7400', '10.200.0.2:7401'],
  ca: 'CA',
  certificate: 'CERT',
  key: 'KEY',
};

/** A command line in a folder of its own, with a controller that tests command. */
export class CommandLine {
  readonly folder = mkdtempSync(join(tmpdir(), 'ft-cli-'));
  readonly config = join(this.folder, 'config');
  readonly work = join(this.folder, 'shop');
  readonly control = new FakeControl();
  readonly connected: ClusterContext[] = [];
  readonly stop = new AbortController();
  environment: Record<string, string> = { FROTA_CONFIG_DIR: this.config };
  stdin = '';
  /** The terminal a person sits at; undefined where there is none. */
  person: PersonTerminal | undefined;
  out = '';
  err = '';
  /** What a live terminal would have shown last; undefined where there is no terminal. */
  live: string[] | undefined;

  constructor() {
    mkdirSync(this.work);
  }

  async addContext(name = 'local', context = aContext): Promise<void> {
    await upsertContext(this.config, name, context);
  }

  file(name: string, text: string): void {
    writeFileSync(join(this.work, name), text);
  }

  /** Runs one line and answers its exit status; `out` and `err` hold what it printed. */
  async run(...args: readonly string[]): Promise<number> {
    this.out = '';
    this.err = '';
    return run(args, this.#host());
  }

  json(): unknown {
    return JSON.parse(this.out);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #host(): Host {
    const colours = coloursFor(false, {});
    return {
      terminal: {
        out: (text) => {
          this.out += text;
        },
        err: (text) => {
          this.err += text;
        },
        write: (chunk, stream) => {
          const text = Buffer.from(chunk).toString('utf8');
          if (stream === 'out') this.out += text;
          else this.err += text;
          return Promise.resolve();
        },
        person: () => this.person,
        outColours: colours,
        errColours: colours,
        live: () => {
          const { live } = this;
          if (live === undefined) return Promise.resolve(undefined);
          return Promise.resolve({
            write: (text: string) => void live.push(text),
            finish: () => void live.push('finished'),
          });
        },
      },
      environment: this.environment,
      cwd: this.work,
      signal: this.stop.signal,
      nowMs: () => Date.parse('2026-11-21T06:05:00Z'),
      stdin: () => Readable.from([Buffer.from(this.stdin)]),
      connect: (context) => {
        this.connected.push(context);
        this.control.open += 1;
        return Promise.resolve(this.control);
      },
    };
  }
}
