/** `SERVER NAME TYPE udp|tcp`: asks once, waits for half a second, and prints what came as JSON. */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { decode, encode, streamDecode, streamEncode } from 'dns-packet';
import type { Packet, RecordType } from 'dns-packet';

export interface Heard {
  /** `NOERROR`, `NXDOMAIN`, …; `silence`; the code of a socket's error. */
  readonly code: string;
  readonly truncated: boolean;
  readonly data: readonly string[];
}

const patienceMs = 500;
const [server = '', name = '', type = 'A', transport = 'udp'] = process.argv.slice(2);
const query: Packet = { type: 'query', id: 11, flags: 1 << 8, questions: [{ type: type as RecordType, name }] };

function tell(code: string, message: Packet = {}): void {
  const data = (message.answers ?? []).map((answer) => ('data' in answer ? (answer.data as string) : ''));
  const heard: Heard = { code, truncated: ((message.flags ?? 0) & (1 << 9)) !== 0, data };
  process.stdout.write(`${JSON.stringify(heard)}\n`, () => process.exit());
}
const tellMessage = (message: Packet): void => tell((message as { rcode?: string }).rcode ?? '', message);
const tellError = (error: NodeJS.ErrnoException): void => tell(error.code ?? '');

setTimeout(() => tell('silence'), patienceMs);
if (transport === 'tcp') {
  const socket = connect(53, server, () => socket.write(streamEncode(query)));
  const chunks: Buffer[] = [];
  socket.on('error', tellError);
  socket.on('data', (chunk) => {
    chunks.push(chunk);
    const all = Buffer.concat(chunks);
    if (all.length >= 2 && all.length >= all.readUInt16BE(0) + 2) tellMessage(streamDecode(all));
  });
} else {
  const socket = createSocket('udp4');
  socket.on('error', tellError);
  socket.on('message', (packet) => tellMessage(decode(packet)));
  socket.connect(53, server, () => socket.send(encode(query)));
}
