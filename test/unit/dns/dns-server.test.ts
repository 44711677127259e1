/** The server and its way to the resolvers over real sockets on loopback, each on a port of its own. */
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { encode } from 'dns-packet';
import { afterEach, describe, expect, it } from 'vitest';
import { createDnsServer } from '../../../agent/dns/dns-server.ts';
import type { DnsServer } from '../../../agent/dns/dns-server.ts';
import { maxConnectionsPerContainer } from '../../../agent/dns/stream-connections.ts';
import { framed, nextServerAfterMs } from '../../../agent/dns/upstream.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { aService, endpoint, inShop, network, question, read, services } from './fixture.ts';
import type { Read } from './fixture.ts';

type Answerer = (packet: Buffer, transport: 'udp' | 'tcp') => Buffer | undefined;
type Closable = { close(): unknown };
const open: Closable[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
});

/** A resolver at `address`; without `answer` nothing is there. All of a test share a port, as all of a node share 53. */
async function resolver(address: string, port: number, answer: Answerer): Promise<number> {
  const datagrams: Socket = createSocket('udp4');
  datagrams.bind(port, address);
  await once(datagrams, 'listening');
  const given = datagrams.address().port;
  datagrams.on('message', (packet, { port: to, address: client }) => {
    const reply = answer(packet, 'udp');
    if (reply !== undefined) datagrams.send(reply, to, client);
  });
  const streams: Server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (chunk) => {
      const reply = answer(chunk.subarray(2), 'tcp');
      if (reply === undefined) socket.destroy();
      // In two parts, as a network may deliver it.
      else socket.write(framed(reply).subarray(0, 3), () => socket.end(framed(reply).subarray(3)));
    });
  });
  streams.listen(given, address);
  await once(streams, 'listening');
  open.push(datagrams, streams);
  return given;
}

function reply(packet: Buffer, flags: number, ...addresses: readonly string[]): Buffer {
  const { message } = read(packet)!;
  const name = message.questions![0]!.name;
  return encode({
    type: 'response',
    id: packet.readUInt16BE(0),
    flags,
    questions: message.questions!,
    answers: addresses.map((data) => ({ type: 'A', name, ttl: 60, data })),
  });
}

async function server(port: number, ...servers: readonly string[]): Promise<{ server: DnsServer; port: number }> {
  // A free port for UDP and TCP alike.
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const own = (probe.address() as AddressInfo).port;
  probe.close();
  const made = createDnsServer({
    address: '127.0.0.1',
    port: own,
    resident: (address) =>
      address === '127.0.0.1' ? { taskId: 't', address, namespace: '', place: inShop } : undefined,
    logger: silentLogger,
    resolvers: { port, servers: () => Promise.resolve(servers) },
  });
  made.apply(network, services);
  await made.open();
  open.push(made);
  return { server: made, port: own };
}

async function ask(port: number, packet: Buffer, source = '127.0.0.1', withinMs = 6_000): Promise<Read | undefined> {
  const socket = createSocket('udp4');
  try {
    socket.bind(0, source);
    await once(socket, 'listening');
    socket.send(packet, port, '127.0.0.1');
    const [response] = (await once(socket, 'message', { signal: AbortSignal.timeout(withinMs) })) as [Buffer];
    return read(response);
  } catch {
    return undefined;
  } finally {
    socket.close();
  }
}

async function askStream(port: number, ...packets: readonly Buffer[]): Promise<readonly (Read | undefined)[]> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.end(Buffer.concat(packets.map(framed)));
  await once(socket, 'close');
  const answers: (Read | undefined)[] = [];
  for (let rest = Buffer.concat(chunks); rest.length > 2; rest = rest.subarray(rest.readUInt16BE(0) + 2)) {
    answers.push(read(rest.subarray(2, rest.readUInt16BE(0) + 2)));
  }
  return answers;
}

describe('the server', () => {
  it('answers over UDP and, one question after the other, over TCP', async () => {
    const { port } = await server(1);
    expect((await ask(port, question('web')))?.data).toEqual(['10.96.0.1']);
    const seen = await askStream(port, question('web'), question('nobody'), question('db'));
    expect(seen.map((each) => each?.code)).toEqual(['NOERROR', 'NXDOMAIN', 'NOERROR']);
  });

  it('leads a client whose answer was cut to the whole of it', async () => {
    const { server: made, port } = await server(1);
    const endpoints = Array.from({ length: 200 }, (_, index) => endpoint(index, `10.65.0.${index}`));
    made.apply(network, [aService({ name: 'web', endpoints })]);
    expect((await ask(port, question('tasks.web')))?.truncated).toBe(true);
    const [whole] = await askStream(port, question('tasks.web'));
    expect([whole?.truncated, whole?.data.length]).toEqual([false, 200]);
  });

  it('says nothing to strangers', async () => {
    const { port } = await server(1);
    expect(await ask(port, question('web'), '127.0.0.2', 300)).toBeUndefined();
  });

  it('ends connections that send what is no question, and those beyond their number', async () => {
    const { port } = await server(1);
    for (const bytes of [Buffer.from([255, 255, 1]), framed(Buffer.alloc(3)), Buffer.from([0, 0])]) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(bytes);
      socket.resume();
      await once(socket, 'close');
    }
    const sockets = Array.from({ length: maxConnectionsPerContainer + 1 }, () => connect(port, '127.0.0.1'));
    const closed = sockets.map((socket) => once(socket, 'close').then(() => socket));
    const last = await Promise.race(closed);
    expect(sockets.filter((socket) => socket.destroyed)).toEqual([last]);
    expect((await ask(port, question('web')))?.code).toBe('NOERROR');
    for (const socket of sockets) socket.destroy();
  });

  it('takes its address again after it was closed, and says who has it', async () => {
    const { server: made, port } = await server(1);
    await made.open();
    await made.close();
    expect(await ask(port, question('web'), '127.0.0.1', 300)).toBeUndefined();
    const squatter = createSocket('udp4');
    squatter.bind(port, '127.0.0.1');
    await once(squatter, 'listening');
    await expect(made.open()).rejects.toThrow(/127\.0\.0\.1 port \d+: another program of this machine has taken it/);
    squatter.close();
    await made.open();
    expect((await ask(port, question('web')))?.code).toBe('NOERROR');
  });
});

describe('names of the world', () => {
  it('come from the first resolver that knows', async () => {
    const up = await resolver('127.0.0.1', 0, (packet) => reply(packet, 0x0180, '192.0.2.1'));
    await resolver('127.0.0.2', up, (packet) => reply(packet, 0x0180, '192.0.2.2'));
    const { port } = await server(up, '127.0.0.1', '127.0.0.2');
    const seen = await ask(port, question('Example.org', { id: 4711 }));
    expect([seen?.data, seen?.message.id]).toEqual([['192.0.2.1'], 4711]);
  });

  it('come from the next one at once when the first refuses or fails, and after a moment when it is silent', async () => {
    const up = await resolver('127.0.0.1', 0, (packet) => reply(packet, 0x0180, '192.0.2.1'));
    await resolver('127.0.0.2', up, (packet) => reply(packet, 0x0182));
    await resolver('127.0.0.3', up, () => undefined);
    const timed = async (first: string) => {
      const { port } = await server(up, first, '127.0.0.1');
      const startedAt = performance.now();
      const seen = await ask(port, question('example.org'));
      return { data: seen?.data, ms: performance.now() - startedAt, port };
    };
    const nobody = await timed('127.0.0.9');
    const failing = await timed('127.0.0.2');
    expect([nobody.data, failing.data]).toEqual([['192.0.2.1'], ['192.0.2.1']]);
    expect(Math.max(nobody.ms, failing.ms)).toBeLessThan(nextServerAfterMs);
    const silent = await timed('127.0.0.3');
    expect(silent.data).toEqual(['192.0.2.1']);
    expect(silent.ms).toBeGreaterThanOrEqual(nextServerAfterMs - 10);
    // From then on the one that answered is asked first.
    const startedAt = performance.now();
    await ask(silent.port, question('example.net'));
    expect(performance.now() - startedAt).toBeLessThan(nextServerAfterMs);
  });

  it('may come late from a resolver that was given up on for the moment', async () => {
    const up = await resolver('127.0.0.2', 0, () => undefined);
    const late = createSocket('udp4');
    late.bind(up, '127.0.0.1');
    await once(late, 'listening');
    open.push(late);
    late.on('message', (packet, { port, address }) => {
      setTimeout(() => late.send(reply(packet, 0x0180, '192.0.2.1'), port, address), 2 * nextServerAfterMs);
    });
    const { port } = await server(up, '127.0.0.1', '127.0.0.2');
    expect((await ask(port, question('example.org')))?.data).toEqual(['192.0.2.1']);
  });

  it('are told as failed in the words of a resolver, or in ours when none has any', async () => {
    const up = await resolver('127.0.0.1', 0, (packet) => reply(packet, 0x0185));
    expect((await ask((await server(up, '127.0.0.1')).port, question('a.example')))?.code).toBe('REFUSED');
    expect((await ask((await server(up, '127.0.0.9')).port, question('a.example')))?.code).toBe('SERVFAIL');
    expect((await ask((await server(up)).port, question('a.example')))?.code).toBe('SERVFAIL');
  });

  it('take no reply that was not asked for', async () => {
    const up = await resolver('127.0.0.1', 0, (packet) => {
      const wrong = reply(packet, 0x0180, '6.6.6.6');
      wrong.writeUInt16BE((packet.readUInt16BE(0) + 1) % 0x10000, 0);
      return wrong;
    });
    await resolver('127.0.0.2', up, (packet) => reply(packet, 0x0180, '192.0.2.2'));
    const { port } = await server(up, '127.0.0.1', '127.0.0.2');
    expect((await ask(port, question('example.org')))?.data).toEqual(['192.0.2.2']);
  });

  it('come over TCP when they are long and the client can take it, and cut where the resolver can’t', async () => {
    const long = Array.from({ length: 100 }, (_, index) => `192.0.2.${index}`);
    const up = await resolver('127.0.0.1', 0, (packet, transport) =>
      transport === 'udp' ? reply(packet, 0x0380, ...long.slice(0, 3)) : reply(packet, 0x0180, ...long),
    );
    await resolver('127.0.0.2', up, (packet, transport) =>
      transport === 'udp' ? reply(packet, 0x0380, ...long.slice(0, 3)) : undefined,
    );
    const { port } = await server(up, '127.0.0.1');
    const cut = await ask(port, question('long.example'));
    expect([cut?.truncated, cut?.data.length]).toEqual([true, 3]);
    const [whole] = await askStream(port, question('long.example'));
    expect([whole?.truncated, whole?.data.length]).toEqual([false, 100]);
    const [beginning] = await askStream((await server(up, '127.0.0.2')).port, question('long.example'));
    expect([beginning?.truncated, beginning?.data.length]).toEqual([true, 3]);
  });
});
