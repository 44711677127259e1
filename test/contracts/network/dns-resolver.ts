/**
 * `ADDRESS`: the resolver of the tests' nodes. Every name has the address 203.0.113.5, one that begins with `long` a
 * hundred of them, over TCP only. Prints each name it is asked for.
 */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { decode, encode } from 'dns-packet';
import type { Answer } from 'dns-packet';

const address = process.argv[2] ?? '';

function answerTo(packet: Buffer, transport: 'udp' | 'tcp'): Buffer {
  const query = decode(packet);
  const name = query.questions?.[0]?.name ?? '';
  process.stdout.write(`${name}\n`);
  const long = name.startsWith('long');
  const count = !long ? 1 : transport === 'udp' ? 0 : 100;
  const answers = Array.from({ length: count }, (_, index): Answer => {
    return { type: 'A', name, ttl: 60, data: `203.0.113.${5 + index}` };
  });
  const truncated = long && transport === 'udp' ? 1 << 9 : 0;
  const questions = query.questions ?? [];
  return encode({ type: 'response', id: query.id ?? 0, flags: (1 << 8) | (1 << 7) | truncated, questions, answers });
}

const datagrams = createSocket('udp4');
datagrams.on('message', (packet, { port, address: client }) => datagrams.send(answerTo(packet, 'udp'), port, client));
createServer((socket) => {
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    const reply = answerTo(chunk.subarray(2), 'tcp');
    const length = Buffer.alloc(2);
    length.writeUInt16BE(reply.length, 0);
    socket.end(Buffer.concat([length, reply]));
  });
}).listen(53, address, () => datagrams.bind(53, address, () => process.stdout.write('ready\n')));
