import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FrotaError } from '../../../proto/base/errors.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import type { LogFields } from '../../../proto/base/log.ts';
import type { AgentMessage, ControllerMessage } from '../../../proto/codec/dispatch.ts';
import type { StackProgress } from '../../../proto/codec/control.ts';
import { connect, createClient, parseAddress, targetOf } from '../../../proto/rpc/client.ts';
import type { Connection } from '../../../proto/rpc/client.ts';
import type { CallContext, Peer } from '../../../proto/rpc/context.ts';
import { createOutbox } from '../../fakes/outbox.ts';
import { createServer } from '../../../proto/rpc/server.ts';
import type { Handlers, RpcServer } from '../../../proto/rpc/server.ts';
import { controlService, dispatchService } from '../../../proto/rpc/service.ts';
import { loadOrCreateAuthority } from '../../../controller/security/authority.ts';
import type { Authority, Identity } from '../../../controller/security/authority.ts';

const errorOf = async (promise: Promise<unknown>): Promise<FrotaError> => {
  try {
    await promise;
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(FrotaError);
    return thrown as FrotaError;
  }
  throw new Error('nothing was thrown');
};

const notHere = (): never => {
  throw new FrotaError('unsupported', 'not in this test');
};

const controlHandlers: Handlers<typeof controlService> = {
  apply: async () => notHere(),
  scale: async () => notHere(),
  removeStack: async () => notHere(),
  listServices: async () => notHere(),
  listTasks: async () => notHere(),
  listNodes: async () => notHere(),
  updateNode: async () => notHere(),
  watchStack: () => notHere(),
  rolloutStatus: async () => notHere(),
  rolloutHistory: async () => notHere(),
  rolloutUndo: async () => notHere(),
  rolloutRestart: async () => notHere(),
  createJoinToken: async () => notHere(),
  registryLogin: async () => notHere(),
  registryLogout: async () => notHere(),
  listRegistries: async () => notHere(),
  listEvents: () => notHere(),
  inspect: async () => notHere(),
  logs: () => notHere(),
  exec: () => notHere(),
  runDrill: () => notHere(),
  followDrill: () => notHere(),
  listDrills: async () => notHere(),
  stopDrill: async () => notHere(),
  getVersion: async () => ({ version: '1.2.3', clusterId: 'c1' }),
};

let folder: string;
let authority: Authority;
let serverIdentity: Identity;
let person: Identity;
let closers: (() => Promise<void> | void)[];
const logged: { fields: LogFields; message: string }[] = [];
const logger = {
  ...silentLogger,
  error: (fields: LogFields, message: string) => void logged.push({ fields, message }),
};

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ft-rpc-'));
  authority = await loadOrCreateAuthority(folder, Date.now());
  serverIdentity = await authority.issueServer([], Date.now());
  person = await authority.issuePerson('ana', 'admin', Date.now());
  closers = [];
  logged.length = 0;
});

afterEach(async () => {
  for (const close of closers.reverse()) await close();
  await rm(folder, { recursive: true, force: true });
});

async function serve(add: (server: RpcServer) => void): Promise<{ address: string; server: RpcServer }> {
  const tls = { ...serverIdentity, ca: authority.certificate, requireClientCertificate: true };
  const server = createServer({ tls, logger });
  add(server);
  const { port } = await server.listen('127.0.0.1:0');
  closers.push(() => server.close());
  return { address: `127.0.0.1:${String(port)}`, server };
}

function open(
  addresses: readonly string[],
  identity: Partial<Identity> = person,
  ca = authority.certificate,
): Connection {
  const connection = connect({ addresses, tls: { ca, ...identity } });
  closers.push(() => {
    connection.close();
  });
  return connection;
}

async function controlClient(handlers: Partial<Handlers<typeof controlService>>) {
  const { address, server } = await serve((s) => {
    s.add(controlService, { ...controlHandlers, ...handlers });
  });
  return { client: createClient(controlService, open([address])), address, server };
}

describe('unary calls', () => {
  test('a reply comes back, and the handler knows who asks', async () => {
    let seen: CallContext | undefined;
    const { client } = await controlClient({
      getVersion: async (_request, context) => {
        seen = context;
        return { version: '1', clusterId: 'c' };
      },
    });
    expect(await client.getVersion({}, { deadlineMs: 5000 })).toEqual({ version: '1', clusterId: 'c' });
    expect(seen?.peer).toMatchObject({ commonName: 'ana', organization: 'frota:admin' } satisfies Partial<Peer>);
    expect(seen?.peer?.serialNumber).toMatch(/^[0-9A-F]+$/);
    expect(seen?.remoteAddress).toBe('127.0.0.1');
  });

  test('code, message with causes and problems of an error survive', async () => {
    const problems = [
      { where: 'compose.yaml:3:5', message: 'unknown key "imge"; did you mean "image"?' },
      { where: 'compose.yaml:9:1', message: 'ünïcode → ok' },
    ];
    const { client } = await controlClient({
      removeStack: async () => {
        throw new FrotaError('not-found', 'no stack "x"', { problems, cause: new Error('the root of it') });
      },
    });
    const error = await errorOf(client.removeStack({ stack: 'x' }, { deadlineMs: 5000 }));
    expect(error.code).toBe('not-found');
    expect(error.message).toBe('no stack "x": the root of it');
    expect(error.problems).toEqual(problems);
    expect(logged).toEqual([]);
  });

  test('very many problems are cut, and the cut is told', async () => {
    const problems = Array.from({ length: 5000 }, (_, i) => ({ where: `f:${String(i)}`, message: '🐳'.repeat(20) }));
    const { client } = await controlClient({
      removeStack: async () => {
        throw new FrotaError('invalid', '🐳'.repeat(5001), { problems });
      },
    });
    const error = await errorOf(client.removeStack({ stack: 'x' }, { deadlineMs: 5000 }));
    expect(error.code).toBe('invalid');
    expect(error.problems.length).toBeGreaterThan(20);
    expect(error.problems.at(-1)?.message).toMatch(/^\d+ further problems are left out/);
  });

  test('a bug is internal, logged with its stack, and not told to the caller', async () => {
    const { client } = await controlClient({
      removeStack: async () => {
        throw new TypeError('secret detail');
      },
    });
    const error = await errorOf(client.removeStack({ stack: 'x' }, { deadlineMs: 5000 }));
    expect(error.code).toBe('internal');
    expect(error.message).not.toContain('secret detail');
    expect(logged).toHaveLength(1);
    expect(logged[0]?.fields['error']).toBe('secret detail');
    expect(await client.getVersion({}, { deadlineMs: 5000 })).toMatchObject({ version: '1.2.3' });
  });

  test('the deadline ends the call on both sides', async () => {
    let aborted: Promise<void> | undefined;
    const { client } = await controlClient({
      removeStack: (_request, { signal }) => {
        aborted = new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            resolve();
          });
        });
        return new Promise(() => undefined);
      },
    });
    const error = await errorOf(client.removeStack({ stack: 'x' }, { deadlineMs: 150 }));
    expect(error.code).toBe('deadline');
    expect(error.message).toContain('/frota.v1.Control/RemoveStack within 150 ms');
    await aborted;
  });

  test('aborting cancels the call on both sides', async () => {
    const seen: string[] = [];
    const { client } = await controlClient({
      removeStack: (_request, { signal }) => {
        seen.push('called');
        signal.addEventListener('abort', () => seen.push('aborted'));
        return new Promise(() => undefined);
      },
    });
    const abort = new AbortController();
    const call = errorOf(client.removeStack({ stack: 'x' }, { deadlineMs: 10_000, signal: abort.signal }));
    await expect.poll(() => seen).toEqual(['called']);
    abort.abort();
    expect((await call).code).toBe('cancelled');
    await expect.poll(() => seen).toEqual(['called', 'aborted']);
    expect((await errorOf(client.getVersion({}, { deadlineMs: 1000, signal: abort.signal }))).code).toBe('cancelled');
  });

  test('a message beyond the limit is refused as exhausted', async () => {
    const { client } = await controlClient({
      removeStack: async () => ({ services: ['x'.repeat(9 * 1024 * 1024)] }),
    });
    expect((await errorOf(client.removeStack({ stack: 'x' }, { deadlineMs: 5000 }))).code).toBe('exhausted');
  });
});

describe('who may call', () => {
  test('nobody without a certificate, nobody with another CA’s', async () => {
    const { address } = await controlClient({});
    const other = await loadOrCreateAuthority(join(folder, 'other'), Date.now());
    const stranger = await other.issuePerson('eve', 'admin', Date.now());
    for (const identity of [{}, stranger]) {
      const client = createClient(controlService, open([address], identity));
      const error = await errorOf(client.getVersion({}, { deadlineMs: 3000 }));
      expect(error.code).toBe('unavailable');
      expect(error.message).toContain(address);
    }
  });

  test('a server of another CA is not trusted', async () => {
    const { address } = await controlClient({});
    const other = await loadOrCreateAuthority(join(folder, 'other'), Date.now());
    const client = createClient(controlService, open([address], person, other.certificate));
    expect((await errorOf(client.getVersion({}, { deadlineMs: 3000 }))).code).toBe('unavailable');
  });

  test('an expired certificate is refused', async () => {
    const { address } = await controlClient({});
    const old = await authority.issuePerson('ana', 'admin', Date.now() - 400 * 24 * 3600 * 1000);
    const client = createClient(controlService, open([address], old));
    expect((await errorOf(client.getVersion({}, { deadlineMs: 3000 }))).code).toBe('unavailable');
  });

  test('a person’s certificate cannot serve as a controller', async () => {
    const tls = { ...person, ca: authority.certificate, requireClientCertificate: false };
    const server = createServer({ tls, logger });
    server.add(controlService, controlHandlers);
    const { port } = await server.listen('127.0.0.1:0');
    closers.push(() => server.close());
    const client = createClient(controlService, open([`127.0.0.1:${String(port)}`]));
    expect((await errorOf(client.getVersion({}, { deadlineMs: 3000 }))).code).toBe('unavailable');
  });
});

describe('addresses', () => {
  test('the second is used when the first does not answer; a name works alone', async () => {
    const { address } = await controlClient({});
    const list = createClient(controlService, open(['127.0.0.1:1', address]));
    expect(await list.getVersion({}, { deadlineMs: 5000 })).toMatchObject({ version: '1.2.3' });
    const { port } = parseAddress(address);
    const named = createClient(controlService, open([`localhost:${String(port)}`]));
    expect(await named.getVersion({}, { deadlineMs: 5000 })).toMatchObject({ version: '1.2.3' });
  });

  test('nobody there: the message names the address and what to do', async () => {
    const client = createClient(controlService, open(['127.0.0.1:1']));
    const error = await errorOf(client.getVersion({}, { deadlineMs: 5000 }));
    expect(error.code).toBe('unavailable');
    expect(error.message).toContain('no answer from the controller at 127.0.0.1:1: check that it runs');
    expect((error.cause as Error).message).toContain('ECONNREFUSED');
  });

  test.each([
    [['10.0.0.1:7400', '10.0.0.2:7400'], 'ipv4:10.0.0.1:7400,10.0.0.2:7400'],
    [['[fd00::1]:7400'], 'ipv6:[fd00::1]:7400'],
    [['controller.example:7400'], 'dns:controller.example:7400'],
  ])('%j is %s', (addresses, target) => {
    expect(targetOf(addresses)).toBe(target);
  });

  test.each(['', '10.0.0.1', '10.0.0.1:0', '10.0.0.1:65536', 'a b:1', '[nonsense]:1', 'fd00::1:80', 'a:1,b:2'])(
    '%j is refused',
    (address) => {
      expect(() => targetOf([address])).toThrow(expect.objectContaining({ code: 'invalid' }) as FrotaError);
    },
  );

  test('a taken port is a clear error', async () => {
    const { address } = await controlClient({});
    const second = createServer({
      tls: { ...serverIdentity, ca: authority.certificate, requireClientCertificate: true },
      logger,
    });
    const error = await errorOf(second.listen(address));
    expect(error.code).toBe('unavailable');
    expect(error.message).toContain(`cannot listen on ${address}`);
  });
});

const progress = (version: number): StackProgress => ({
  declared: true,
  version,
  services: [],
  tasks: [],
  converged: false,
  stuck: [],
  failed: [],
  settling: [],
});

describe('server streams', () => {
  test('items come in order, then the end; an error after some comes too', async () => {
    const { client } = await controlClient({
      watchStack: async function* ({ stack }) {
        yield progress(1);
        yield progress(2);
        if (stack === 'bad') throw new FrotaError('conflict', 'changed');
      },
    });
    const { signal } = new AbortController();
    const seen: number[] = [];
    for await (const { version } of client.watchStack({ stack: 'good' }, { signal })) seen.push(version);
    expect(seen).toEqual([1, 2]);
    const failing = async (): Promise<void> => {
      for await (const { version } of client.watchStack({ stack: 'bad' }, { signal })) seen.push(version);
    };
    expect((await errorOf(failing())).code).toBe('conflict');
    expect(seen).toEqual([1, 2, 1, 2]);
  });

  test('a slow reader slows the handler down; leaving ends it', async () => {
    let made = 0;
    let ended = false;
    const big = {
      ...progress(1),
      services: [
        {
          stack: 's',
          name: 'n',
          mode: 'replicated' as const,
          image: 'x'.repeat(100_000),
          replicas: { desired: 1, running: 1 },
          ports: [],
          rollout: null,
        },
      ],
    };
    const { client } = await controlClient({
      watchStack: async function* () {
        try {
          for (;;) {
            made += 1;
            yield big;
          }
        } finally {
          ended = true;
        }
      },
    });
    const { signal } = new AbortController();
    for await (const item of client.watchStack({ stack: 's' }, { signal })) {
      expect(item.version).toBe(1);
      await sleep(300);
      break;
    }
    expect(made).toBeLessThan(200);
    await expect.poll(() => ended).toBe(true);
    const after = made;
    await sleep(50);
    expect(made).toBe(after);
  });

  test('aborting ends a stream whose handler waits for ever', async () => {
    let signalled = false;
    const { client } = await controlClient({
      watchStack: async function* (_request, { signal }) {
        signal.addEventListener('abort', () => {
          signalled = true;
        });
        yield progress(1);
        await new Promise(() => undefined);
      },
    });
    const abort = new AbortController();
    const reading = async (): Promise<void> => {
      for await (const item of client.watchStack({ stack: 's' }, { signal: abort.signal })) {
        expect(item.version).toBe(1);
        abort.abort();
      }
    };
    expect((await errorOf(reading())).code).toBe('cancelled');
    await expect.poll(() => signalled).toBe(true);
  });

  test('closing the server ends streams at once and lets unary calls finish', async () => {
    const { client, server } = await controlClient({
      watchStack: async function* () {
        yield progress(1);
        await new Promise(() => undefined);
      },
      removeStack: async () => {
        await sleep(300);
        return { services: ['done'] };
      },
    });
    const { signal } = new AbortController();
    const stream = client.watchStack({ stack: 's' }, { signal })[Symbol.asyncIterator]();
    await stream.next();
    const removal = client.removeStack({ stack: 's' }, { deadlineMs: 5000 });
    await sleep(50);
    const ended = errorOf(stream.next());
    const began = Date.now();
    await server.close();
    expect(Date.now() - began).toBeLessThan(1500);
    expect(await ended).toMatchObject({ code: 'unavailable' });
    expect(await removal).toEqual({ services: ['done'] });
  });
});

const hello: AgentMessage = {
  kind: 'hello',
  facts: {
    nodeId: '',
    address: '10.0.0.2',
    livenessPort: 7402,
    capacity: { cpuMillis: 2000, memoryBytes: 2 ** 31 },
    architecture: 'amd64',
    os: 'linux',
    agentVersion: '1',
  },
  bootId: Uint8Array.of(1, 2),
  held: [],
};
const batch = (sequence: number): AgentMessage => ({ kind: 'statuses', sequence, reports: [] });

type SessionHandler = Handlers<typeof dispatchService>['session'];

async function dispatchClient(session: SessionHandler) {
  const { address, server } = await serve((s) => {
    s.add(dispatchService, { session, renewCertificate: async () => notHere(), fetchContents: async () => notHere(), getRegistryCredential: async () => notHere(), stream: () => notHere() }); // prettier-ignore
  });
  return { client: createClient(dispatchService, open([address])), server };
}

describe('duplex streams', () => {
  test('both sides speak; the end of one is seen by the other', async () => {
    const { client } = await dispatchClient(async function* (incoming) {
      for await (const message of incoming) {
        if (message.kind === 'statuses') yield { kind: 'ack', sequence: message.sequence, unwanted: [] };
        else if (message.kind === 'hello') yield { kind: 'removed', key: message.facts.address };
      }
      yield { kind: 'synced' };
    });
    const stream = client.session({ signal: new AbortController().signal });
    await stream.write(hello);
    for (let sequence = 1; sequence <= 100; sequence += 1) await stream.write(batch(sequence));
    stream.end();
    const got: ControllerMessage[] = [];
    for await (const message of stream) got.push(message);
    expect(got[0]).toEqual({ kind: 'removed', key: '10.0.0.2' });
    expect(got.slice(1, -1)).toEqual(
      Array.from({ length: 100 }, (_, i) => ({ kind: 'ack', sequence: i + 1, unwanted: [] })),
    );
    expect(got.at(-1)).toEqual({ kind: 'synced' });
    expect((await errorOf(stream.write(hello))).code).toBe('unavailable');
  });

  test('an outbox pushes while messages come in; the agent learns the controller’s address', async () => {
    const { client } = await dispatchClient((incoming, { signal }) => {
      const outbox = createOutbox<ControllerMessage>(100, signal);
      const read = async (): Promise<void> => {
        for await (const message of incoming) outbox.push({ kind: 'removed', key: message.kind });
        outbox.close();
      };
      read().catch((thrown: unknown) => {
        outbox.fail(FrotaError.from(thrown));
      });
      outbox.push({ kind: 'synced' });
      return outbox;
    });
    const stream = client.session({ signal: new AbortController().signal });
    const iterator = stream[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toEqual({ kind: 'synced' });
    expect(stream.remoteAddress()).toBe('127.0.0.1');
    await stream.write(hello);
    expect((await iterator.next()).value).toEqual({ kind: 'removed', key: 'hello' });
    stream.end();
    expect((await iterator.next()).done).toBe(true);
  });

  test('an error of the handler is read, also by those who come late, and stops the writer', async () => {
    const { client } = await dispatchClient(async function* (incoming) {
      for await (const message of incoming) {
        yield { kind: 'removed', key: message.kind };
        throw new FrotaError('forbidden', 'node was removed', { problems: [{ where: 'n1', message: 'gone' }] });
      }
    });
    const stream = client.session({ signal: new AbortController().signal });
    await stream.write(hello);
    await sleep(300);
    const reading = async (): Promise<void> => {
      for await (const message of stream) expect(message).toEqual({ kind: 'removed', key: 'hello' });
    };
    const error = await errorOf(reading());
    expect(error).toMatchObject({ code: 'forbidden', message: 'node was removed' });
    expect(error.problems).toHaveLength(1);
    expect((await errorOf(stream.write(hello))).code).toBe('forbidden');
  });

  test('closing from the agent’s side ends what the handler reads and what it sends', async () => {
    const ends: string[] = [];
    const { client } = await dispatchClient(async function* (incoming, { signal }) {
      signal.addEventListener('abort', () => ends.push('signal'));
      yield { kind: 'synced' };
      try {
        for await (const message of incoming) expect(message.kind).toBe('hello');
      } catch (thrown) {
        ends.push((thrown as FrotaError).code);
        throw thrown;
      }
    });
    const stream = client.session({ signal: new AbortController().signal });
    const iterator = stream[Symbol.asyncIterator]();
    await iterator.next();
    stream.close();
    expect((await errorOf(iterator.next())).code).toBe('cancelled');
    await expect.poll(() => ends.sort()).toEqual(['cancelled', 'signal']);
    expect(logged).toEqual([]);
  });

  test('no controller: reading and writing both say so', async () => {
    const client = createClient(dispatchService, open(['127.0.0.1:1']));
    const stream = client.session({ signal: new AbortController().signal });
    const reading = async (): Promise<void> => {
      for await (const message of stream) expect(message).toBeUndefined();
    };
    expect((await errorOf(reading())).code).toBe('unavailable');
    expect((await errorOf(stream.write(hello))).code).toBe('unavailable');
  });

  test('bytes that are no message are the caller’s mistake', async () => {
    const { address } = await serve((s) => {
      s.add(controlService, controlHandlers);
    });
    const connection = open([address]);
    const raw = new Promise<unknown>((resolve) => {
      const same = (bytes: Buffer): Buffer => bytes;
      connection.channel.makeUnaryRequest('/frota.v1.Control/Apply', same, same, Buffer.from([1, 2, 3]), (error) => {
        resolve(error?.code);
      });
    });
    expect(await raw).toBe(3); // INVALID_ARGUMENT
  });
});

describe('outbox', () => {
  test('is bounded', () => {
    const outbox = createOutbox<{ n: number }>(2, new AbortController().signal);
    outbox.push({ n: 1 });
    outbox.push({ n: 2 });
    expect(() => {
      outbox.push({ n: 3 });
    }).toThrow(expect.objectContaining({ code: 'exhausted' }) as FrotaError);
    expect(outbox.size()).toBe(2);
  });

  test('ends at once when its signal aborts, and throws what it failed with', async () => {
    const abort = new AbortController();
    const waiting = createOutbox<{ n: number }>(2, abort.signal)[Symbol.asyncIterator]().next();
    abort.abort();
    expect((await waiting).done).toBe(true);
    const failed = createOutbox<{ n: number }>(2, new AbortController().signal);
    const next = errorOf(failed[Symbol.asyncIterator]().next());
    failed.fail(new FrotaError('conflict', 'x'));
    expect((await next).code).toBe('conflict');
  });
});
