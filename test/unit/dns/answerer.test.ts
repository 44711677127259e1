import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Answerer, maxForwarded, maxForwardedPerContainer } from '../../../agent/dns/answerer.ts';
import { judgeReply, maxQueryBytes, readQuery, timeToLiveS, withId } from '../../../agent/dns/messages.ts';
import type { Query } from '../../../agent/dns/messages.ts';
import { nameTable } from '../../../agent/dns/name-table.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { aService, endpoint, inShop, network, question, read, services } from './fixture.ts';

type Ask = (query: Query, packet: Buffer, transport: 'udp' | 'tcp') => Promise<Buffer | undefined>;

function answerer(ask: Ask = () => Promise.resolve(undefined), units = services): Answerer {
  const made = new Answerer({
    resident: (address) =>
      address.startsWith('10.64.1.') ? { taskId: 't', address, namespace: '', place: inShop } : undefined,
    upstream: { ask },
    logger: silentLogger,
  });
  made.table = nameTable(network, units);
  return made;
}

const me = '10.64.1.2';
const many = (count: number) =>
  aService({
    name: 'web',
    endpoints: Array.from({ length: count }, (_, index) => endpoint(index, `10.65.${index >> 8}.${index & 255}`)),
  });

describe('an answer', () => {
  it('has the question, the address, and lives for a second', () => {
    const response = answerer().answer(question('Web', { id: 77 }), me, 'udp') as Buffer;
    const { code, truncated, message } = read(response)!;
    expect([code, truncated]).toEqual(['NOERROR', false]);
    expect(message).toMatchObject({ id: 77, flag_qr: true, flag_aa: true, flag_rd: true, flag_ra: true });
    // As it was asked, letter by letter: some clients compare.
    expect(message.questions).toEqual([{ type: 'A', name: 'Web', class: 'IN' }]);
    expect(message.answers).toMatchObject([{ type: 'A', name: 'Web', class: 'IN', ttl: timeToLiveS, data: '10.96.0.1' }]); // prettier-ignore
    expect(message.additionals).toEqual([]);
  });

  it('speaks EDNS with who speaks it', () => {
    const response = answerer().answer(question('web', { offers: 4096 }), me, 'udp') as Buffer;
    expect(read(response)?.message.additionals).toMatchObject([{ type: 'OPT', udpPayloadSize: 1232 }]);
  });

  it.each([
    ['nobody', 'A', 'NXDOMAIN'],
    ['web', 'AAAA', 'NOERROR'],
    ['web', 'AXFR', 'REFUSED'],
  ])('to %s %s is %s, without addresses', (name, type, code) => {
    const seen = read(answerer().answer(question(name, { type }), me, 'udp') as Buffer);
    expect([seen?.code, seen?.data]).toEqual([code, []]);
  });

  it('is for containers of this node only', () => {
    expect(answerer().answer(question('web'), '10.64.2.2', 'udp')).toBeUndefined();
    expect(answerer().answer(question('web'), '127.0.0.1', 'udp')).toBeUndefined();
  });

  it('says so when there is nothing to answer from yet', () => {
    const empty = new Answerer({
      resident: (address) => ({ taskId: 't', address, namespace: '' }),
      upstream: { ask: () => Promise.resolve(undefined) },
      logger: silentLogger,
    });
    expect(read(empty.answer(question('web'), me, 'udp') as Buffer)?.code).toBe('SERVFAIL');
  });
});

describe('a long answer', () => {
  it.each([
    [undefined, 512, 19],
    [100, 512, 18],
    [1000, 1000, 38],
    [65_000, 1232, 47],
  ])('over UDP to a client that offers %s stays below %i bytes and says that it is cut', (offers, limit, fitting) => {
    const options = offers === undefined ? {} : { offers };
    const response = answerer(undefined, [many(300)]).answer(question('tasks.web', options), me, 'udp') as Buffer;
    expect(response.length).toBeLessThanOrEqual(limit);
    const seen = read(response)!;
    expect([seen.truncated, seen.data.length]).toEqual([true, fitting]);
  });

  it('over TCP is whole, as far as a message goes', () => {
    const whole = read(answerer(undefined, [many(300)]).answer(question('tasks.web'), me, 'tcp') as Buffer)!;
    expect([whole.truncated, whole.data.length]).toEqual([false, 300]);
    const response = answerer(undefined, [many(5_000)]).answer(question('tasks.web'), me, 'tcp') as Buffer;
    expect(response.length).toBeLessThanOrEqual(65_535);
    expect(read(response)?.data.length).toBeGreaterThan(2_000);
  });

  it('begins with another address each time', () => {
    const server = answerer(undefined, [many(40)]);
    const first = new Set<string>();
    for (let round = 0; round < 40; round += 1) first.add(read(server.answer(question('tasks.web'), me, 'udp') as Buffer)!.data[0]!); // prettier-ignore
    expect(first.size).toBe(40);
  });
});

describe('a question about the world', () => {
  it('is passed on as it came, and so is what comes back', async () => {
    const reply = Buffer.from('whatever the resolver says');
    const seen: [Buffer, string][] = [];
    const server = answerer((_query, packet, transport) => {
      seen.push([packet, transport]);
      return Promise.resolve(reply);
    });
    const packet = question('example.org', { type: 'MX', offers: 1400 });
    expect(await server.answer(packet, me, 'tcp')).toBe(reply);
    expect(seen).toEqual([[packet, 'tcp']]);
  });

  it('fails when no resolver answers, and when one makes trouble', async () => {
    const silent = await answerer().answer(question('example.org'), me, 'udp');
    expect(read(silent)?.code).toBe('SERVFAIL');
    const trouble = answerer(() => Promise.reject(new Error('boom')));
    expect(read(await trouble.answer(question('example.org'), me, 'udp'))?.code).toBe('SERVFAIL');
  });

  it('is refused when too many are under way, of one container and of all; those of the cluster never', async () => {
    let release: (reply: undefined) => void = () => undefined;
    const gate = new Promise<undefined>((resolve) => {
      release = resolve;
    });
    let asked = 0;
    const server = answerer(() => {
      asked += 1;
      return gate;
    });
    const waiting: unknown[] = [];
    const start = (source: string, count: number): void => {
      for (let index = 0; index < count; index += 1)
        waiting.push(server.answer(question('example.org'), source, 'udp'));
    };
    start(me, maxForwardedPerContainer);
    expect(read(await server.answer(question('example.org'), me, 'udp'))?.code).toBe('SERVFAIL');
    for (let host = 10; asked < maxForwarded; host += 1) start(`10.64.1.${host}`, maxForwardedPerContainer);
    expect(read(await server.answer(question('example.org'), '10.64.1.99', 'udp'))?.code).toBe('SERVFAIL');
    expect(read(server.answer(question('web'), me, 'udp') as Buffer)?.code).toBe('NOERROR');
    expect(asked).toBe(maxForwarded);
    release(undefined);
    await Promise.all(waiting);
    start(me, maxForwardedPerContainer);
    expect(asked).toBe(maxForwarded + maxForwardedPerContainer);
  });
});

describe('a packet', () => {
  const answerTo = (packet: Buffer) => answerer().answer(packet, me, 'udp');
  const changed = (change: (packet: Buffer) => void): Buffer => {
    const packet = question('web');
    change(packet);
    return packet;
  };

  it('that is no question is not answered', () => {
    expect(answerTo(Buffer.alloc(0))).toBeUndefined();
    expect(answerTo(question('web').subarray(0, 11))).toBeUndefined();
    // Two servers that answer each other's answers would never stop.
    expect(answerTo(changed((packet) => packet.writeUInt16BE(0x8000, 2)))).toBeUndefined();
    expect(answerTo(Buffer.concat([question('web'), Buffer.alloc(maxQueryBytes)]))).toBeUndefined();
  });

  it.each([
    ['another operation', (packet: Buffer) => packet.writeUInt16BE(2 << 11, 2), 'NOTIMP'],
    ['no question', (packet: Buffer) => packet.writeUInt16BE(0, 4), 'FORMERR'],
    ['two questions', (packet: Buffer) => packet.writeUInt16BE(2, 4), 'FORMERR'],
    ['an answer', (packet: Buffer) => packet.writeUInt16BE(1, 6), 'FORMERR'],
    ['records that are not there', (packet: Buffer) => packet.writeUInt16BE(65_535, 10), 'FORMERR'],
    ['a name that leads to itself', (packet: Buffer) => packet.writeUInt16BE(0xc00c, 12), 'FORMERR'],
    ['another class', (packet: Buffer) => packet.writeUInt16BE(3, packet.length - 2), 'REFUSED'],
  ])('with %s is told %s', (_what, change, code) => {
    const seen = read(answerTo(changed((packet) => void change(packet))) as Buffer);
    expect(seen?.code).toBe(code);
    expect(seen?.message.id).toBe(7);
  });

  it('of any bytes does no harm, and whatever is said to it is a response with its id', async () => {
    const bytes = fc.uint8Array({ maxLength: 600 }).map((array) => Buffer.from(array));
    const mutated = fc
      .tuple(
        fc.constantFrom('web', 'tasks.web', 'example.org', '2.1.64.10.in-addr.arpa', 'a'.repeat(63)),
        fc.constantFrom('A', 'AAAA', 'PTR', 'TXT'),
        fc.array(fc.tuple(fc.nat({ max: 60 }), fc.nat({ max: 255 })), { maxLength: 6 }),
      )
      .map(([name, type, changes]) => {
        const packet = question(name, { type, offers: 1_000 });
        for (const [at, value] of changes) if (at < packet.length) packet[at] = value;
        return packet;
      });
    const server = answerer();
    await fc.assert(
      fc.asyncProperty(fc.oneof(bytes, mutated), fc.constantFrom('udp', 'tcp'), async (packet, transport) => {
        const response = await server.answer(packet, me, transport);
        if (response === undefined) return;
        expect(response.length).toBeLessThanOrEqual(transport === 'udp' ? 1_232 : 65_535);
        expect(response.readUInt16BE(0)).toBe(packet.readUInt16BE(0));
        expect(response.readUInt16BE(2) & 0x8000).toBe(0x8000);
      }),
      { numRuns: 2_000 },
    );
  });

  it('of any name is answered in its own words', () => {
    const label = fc.stringMatching(/^[ -~]{1,63}$/).filter((text) => !text.includes('.'));
    fc.assert(
      fc.property(fc.array(label, { minLength: 1, maxLength: 3 }), (labels) => {
        const name = labels.join('.');
        const incoming = readQuery(question(name));
        expect(incoming.kind === 'query' && incoming.query.question.name).toBe(name);
      }),
    );
  });
});

describe('a reply of a resolver', () => {
  const incoming = readQuery(question('example.org'));
  const query = incoming.kind === 'query' ? incoming.query : undefined;
  const reply = (change: (packet: Buffer) => void = () => undefined, packet = question('Example.org', { id: 99 })) => {
    packet.writeUInt16BE(0x8180, 2);
    change(packet);
    return judgeReply(packet, 99, query!);
  };

  it.each([
    ['an answer', undefined, 'answer'],
    ['that there is no such name', (packet: Buffer) => packet.writeUInt16BE(0x8183, 2), 'answer'],
    ['the beginning of one', (packet: Buffer) => packet.writeUInt16BE(0x8380, 2), 'truncated'],
    ['that it failed', (packet: Buffer) => packet.writeUInt16BE(0x8182, 2), 'failure'],
    ['that it does not want to', (packet: Buffer) => packet.writeUInt16BE(0x8185, 2), 'failure'],
    ['another id', (packet: Buffer) => packet.writeUInt16BE(98, 0), 'stranger'],
    ['a question', (packet: Buffer) => packet.writeUInt16BE(0x0100, 2), 'stranger'],
    ['another type', (packet: Buffer) => packet.writeUInt16BE(28, packet.length - 4), 'stranger'],
    ['another name', (packet: Buffer) => packet.write('x', 13), 'stranger'],
  ] as const)('with %s', (_what, change, expected) => {
    expect(reply(change)).toBe(expected);
  });

  it('that is cut off, or leaves the question out, is judged by what is there', () => {
    expect(judgeReply(Buffer.alloc(5), 99, query!)).toBe('stranger');
    const headerOnly = (flags: number): Buffer => {
      const packet = Buffer.alloc(12);
      packet.writeUInt16BE(99, 0);
      packet.writeUInt16BE(flags, 2);
      return packet;
    };
    expect(judgeReply(headerOnly(0x8181), 99, query!)).toBe('failure');
    expect(judgeReply(headerOnly(0x8180), 99, query!)).toBe('stranger');
    // Its records are the client's to read: no byte of them matters here.
    const odd = Buffer.concat([question('example.org', { id: 99 }), Buffer.from([255, 255, 255])]);
    expect(reply((packet) => packet.writeUInt16BE(500, 6), odd)).toBe('answer');
  });

  it('of any bytes does no harm', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const packet = withId(Buffer.concat([Buffer.from(bytes), Buffer.alloc(2)]), 99);
        expect(['answer', 'truncated', 'failure', 'stranger']).toContain(judgeReply(packet, 99, query!));
      }),
      { numRuns: 1_000 },
    );
  });
});
