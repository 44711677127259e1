/**
 * An agent's network adapter and name server alone, in a process of its own, because it acts on the namespace it runs in. Takes one
 * JSON object a line on standard input, `{id, op, argument}`, and answers `{id, result, ms}` or `{id, error}`.
 */
import { createInterface } from 'node:readline';
import { describeError } from '../../../proto/base/errors.ts';
import type { LogFields, Logger } from '../../../proto/base/log.ts';
import { createDnsServer } from '../../../agent/dns/dns-server.ts';
import { overlayAddress, parseSubnet } from '../../../agent/network/addresses.ts';
import { createNodeNetwork } from '../../../agent/network/node-network.ts';
import type { DesiredNetwork, TaskPlace } from '../../../agent/network/network.ts';

export interface DriverOptions {
  readonly nodeAddress: string;
  readonly nodeSubnet: string;
  readonly stateDir: string;
  readonly namePrefix: string;
  readonly spareLinks?: number;
  /** Whom the name server asks about names of the world. */
  readonly resolvers: readonly string[];
}

type Request =
  | { readonly id: number; readonly op: 'list' | 'repair' | 'watch' }
  | {
      readonly id: number;
      readonly op: 'attach';
      readonly argument: { readonly taskId: string; readonly place: TaskPlace };
    }
  | { readonly id: number; readonly op: 'detach'; readonly argument: string }
  | { readonly id: number; readonly op: 'apply' | 'serve names'; readonly argument: DesiredNetwork }
  | { readonly id: number; readonly op: 'close'; readonly argument: { readonly removeAll: boolean } };

const write = (value: unknown): void => {
  process.stdout.write(`${JSON.stringify(value)}\n`);
};

const log =
  (level: string) =>
  (fields: LogFields, message: string): void => {
    process.stderr.write(`${level} ${message} ${JSON.stringify(fields)}\n`);
  };
const logger: Logger = {
  debug: log('debug'),
  info: log('info'),
  warn: log('warn'),
  error: log('error'),
  child: () => logger,
};

const options = JSON.parse(process.argv[2] ?? '{}') as DriverOptions;
const network = await createNodeNetwork({ ...options, logger });
const names = createDnsServer({
  address: overlayAddress(parseSubnet(options.nodeSubnet)),
  resident: (address) => network.resident(address),
  logger,
  resolvers: { servers: () => Promise.resolve(options.resolvers), port: 53 },
});
const watching = new AbortController();

async function perform(request: Request): Promise<unknown> {
  switch (request.op) {
    case 'list':
      return network.list();
    case 'repair':
      return network.repair();
    case 'attach':
      return network.attach(request.argument.taskId, request.argument.place);
    case 'detach':
      return network.detach(request.argument);
    case 'apply':
      return network.apply(request.argument);
    case 'serve names':
      names.apply(request.argument.network, request.argument.services);
      return names.open();
    case 'close':
      return network.close(request.argument);
    case 'watch':
      void network.watch(watching.signal, () => write({ event: 'link back' }));
      return undefined;
  }
}

async function answer(line: string): Promise<void> {
  const request = JSON.parse(line) as Request;
  const startedAt = performance.now();
  try {
    const result = await perform(request);
    write({ id: request.id, result, ms: performance.now() - startedAt });
  } catch (error) {
    write({ id: request.id, error: describeError(error) });
  }
}

write({ event: 'ready' });
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => void answer(line));
lines.on('close', () => watching.abort());
