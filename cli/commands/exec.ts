import type { Command } from 'commander';
import { FrotaError } from '../../proto/base/errors.ts';
import type { ExecInput } from '../../proto/domain/exec.ts';
import { exitStatus } from './exit-status.ts';
import { examples, globalOptions, withControl } from './host.ts';
import type { Host, PersonTerminal } from './host.ts';

/** Ends the command line with a status that is not one of Frota's own; `error` is printed first. */
export class ExitWith extends Error {
  readonly status: number;
  readonly error: FrotaError | undefined;

  constructor(status: number, error?: FrotaError) {
    super(`exit status ${String(status)}`);
    this.status = status;
    this.error = error;
  }
}

interface ExecOptions {
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly env: readonly string[];
  readonly user?: string;
  readonly workdir?: string;
}

/** As Docker: the statuses below are the command's own, so Frota's failures have this one. */
const ownFailure = 125;

export function registerExec(program: Command, host: Host): void {
  program
    .command('exec')
    .description("run a command in a task's container; its exit status is this program's")
    .argument('<task>', 'a task id or its beginning, a slot (web.2), or a service: then its first running task')
    .argument('<command...>', 'what to run, with its arguments')
    .option('-i, --interactive', 'pass standard input on')
    .option('-t, --tty', 'with a terminal')
    .option('-e, --env <key=value>', 'set a variable; may be repeated', collect, [])
    .option('-u, --user <user>', 'as this user, by name or number, also user:group')
    .option('-w, --workdir <folder>', 'in this folder')
    .addHelpText('after', examples('exec -it web.1 sh', 'exec web cat /etc/hosts', 'exec -i db psql < dump.sql'))
    .addHelpText('after', '\nExit status: of the command; 125: Frota failed, 126: no executable, 127: not found\n')
    .action(async (target: string, args: readonly string[], options: ExecOptions, command: Command) => {
      const status = await execute(host, command, target, args, options).catch((thrown: unknown) => {
        if (host.signal.aborted) {
          const left = 'interrupted; the command was told to end';
          throw new ExitWith(exitStatus.interrupted, new FrotaError('cancelled', left));
        }
        throw new ExitWith(ownFailure, FrotaError.from(thrown));
      });
      if (status !== exitStatus.done) throw new ExitWith(status);
    });
}

/** Options of `exec` and of every verb that take a value, which is thus not the task. */
const withValue = new Set(['-e', '--env', '-u', '--user', '-w', '--workdir', '-o', '--output', '--context']);

/** What comes after the task is the command's, its options too: commander learns that from a `--`. */
export function separateCommand(args: readonly string[]): readonly string[] {
  let verb: number | undefined;
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at] ?? '';
    if (arg === '--') return args;
    if (withValue.has(arg)) at += 1;
    else if (arg.startsWith('-')) continue;
    else if (verb === undefined && arg !== 'exec') return args;
    else if (verb === undefined) verb = at;
    else return [...args.slice(0, at + 1), '--', ...args.slice(args[at + 1] === '--' ? at + 2 : at + 1)];
  }
  return args;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

async function execute(
  host: Host,
  command: Command,
  target: string,
  args: readonly string[],
  options: ExecOptions,
): Promise<number> {
  for (const entry of options.env) {
    if (!/^[^=]+=/u.test(entry)) throw new FrotaError('invalid', `-e ${entry}: write KEY=VALUE`);
  }
  const person = options.tty === true ? host.terminal.person() : undefined;
  const start = {
    target,
    args,
    environment: options.env,
    tty: options.tty === true,
    ...(options.user !== undefined && { user: options.user }),
    ...(options.workdir !== undefined && { workingDir: options.workdir }),
    ...(person !== undefined && { size: person.size() }),
  };
  const over = new AbortController();
  const inputs = inputsOf(host, options.interactive === true, person, over.signal);
  const restore = options.interactive === true ? person?.raw() : undefined;
  try {
    return await withControl(host, globalOptions(command), async (control) => {
      for await (const output of control.exec(start, inputs, host.signal)) {
        if (output.kind === 'exit') return output.exitCode;
        await host.terminal.write(output.chunk, output.kind === 'stdout' ? 'out' : 'err');
      }
      throw new FrotaError('unavailable', 'the command was cut off before it ended');
    });
  } finally {
    over.abort();
    restore?.();
  }
}

/** What is typed and how large the terminal becomes, as both come. */
async function* inputsOf(
  host: Host,
  interactive: boolean,
  person: PersonTerminal | undefined,
  over: AbortSignal,
): AsyncGenerator<ExecInput> {
  const waiting: ExecInput[] = [];
  let ring: () => void = () => undefined;
  // One chunk at a time is read ahead: who types faster than the command reads waits.
  let taken: () => void = () => undefined;
  const put = (input: ExecInput): void => {
    waiting.push(input);
    ring();
  };
  const typed = async (): Promise<void> => {
    if (interactive) {
      for await (const chunk of host.stdin()) {
        put({ kind: 'chunk', chunk });
        await new Promise<void>((resolve) => {
          taken = resolve;
        });
      }
    }
    put({ kind: 'end' });
  };
  const off = person?.onResize(() => {
    put({ kind: 'resize', ...person.size() });
  });
  void typed().catch(() => undefined);
  const stop = (): void => {
    ring();
  };
  over.addEventListener('abort', stop, { once: true });
  try {
    while (!over.aborted) {
      const input = waiting.shift();
      if (input === undefined) {
        // Without a terminal nothing comes after the end of the input.
        await new Promise<void>((resolve) => {
          ring = resolve;
        });
        continue;
      }
      yield input;
      if (input.kind === 'chunk') taken();
      if (input.kind === 'end' && person === undefined) return;
    }
  } finally {
    off?.();
  }
}
