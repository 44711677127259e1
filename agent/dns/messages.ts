/** PURE: DNS messages as bytes: what a packet asks, and answers that fit where they go. What is no question makes no answer. */
import { decode, encode } from 'dns-packet';
import type { Answer, DecodedPacket, Packet, Question } from 'dns-packet';

/**
 * A client that heeds it learns of a lost task within this long. It could be nothing: the server is a veth away; but
 * libraries exist that take zero for "never asked".
 */
export const timeToLiveS = 1;
/** Of a client that names no size of its own, RFC 1035 4.2.1. */
const plainUdpBytes = 512;
/** Fits every path without fragments, whatever a client offers (DNS flag day 2020). */
export const maxUdpBytes = 1_232;
export const maxTcpBytes = 65_535;
/** A question with its options is far below; what is longer is none. */
export const maxQueryBytes = 4_096;
const headerBytes = 12;
/** Type, class, time to live, length and an IPv4 address, beside the record's name. */
const addressRecordBytes = 14;

export const responseCodes = {
  ok: 0,
  malformed: 1,
  failed: 2,
  noSuchName: 3,
  notImplemented: 4,
  refused: 5,
} as const;
export type ResponseCode = keyof typeof responseCodes;

/** Bits of the header's flags, RFC 1035 4.1.1. */
const flags = { authoritative: 1 << 10, truncated: 1 << 9, recursionDesired: 1 << 8, recursionAvailable: 1 << 7 };
const isResponse = 1 << 15;
const operationMask = 0xf << 11;

export interface Query {
  readonly id: number;
  readonly question: Question;
  /** In lower case, without the last dot. */
  readonly name: string;
  /** What the client takes over UDP. */
  readonly udpBytes: number;
  /** It speaks EDNS, and wants to hear so. */
  readonly extended: boolean;
  readonly recursionDesired: boolean;
}

export type Incoming =
  | { readonly kind: 'query'; readonly query: Query }
  /** A question, but not one that can be answered; this is to be said. */
  | { readonly kind: 'fault'; readonly response: Buffer }
  /** Not a question at all; an answer to it could start a quarrel of two servers. */
  | { readonly kind: 'noise' };

const noise: Incoming = { kind: 'noise' };

export function readQuery(packet: Buffer): Incoming {
  if (packet.length < headerBytes || packet.length > maxQueryBytes) return noise;
  const word = packet.readUInt16BE(2);
  if ((word & isResponse) !== 0) return noise;
  const id = packet.readUInt16BE(0);
  if ((word & operationMask) !== 0) return fault(id, 'notImplemented');
  if (packet.readUInt16BE(4) !== 1 || packet.readUInt16BE(6) !== 0) return fault(id, 'malformed');
  const message = decoded(packet);
  const question = message?.questions?.[0];
  if (message === undefined || question === undefined) return fault(id, 'malformed');
  if (question.class !== 'IN') return fault(id, 'refused');
  const options = message.additionals?.find((each) => each.type === 'OPT');
  const offered = options?.type === 'OPT' ? options.udpPayloadSize : plainUdpBytes;
  const query: Query = {
    id,
    question,
    name: plainName(question),
    udpBytes: Math.min(Math.max(offered, plainUdpBytes), maxUdpBytes),
    extended: options !== undefined,
    recursionDesired: (word & flags.recursionDesired) !== 0,
  };
  return { kind: 'query', query };
}

/** `1.2.0.192.in-addr.arpa` → `192.0.2.1`. */
export function reversedAddress(name: string): string | undefined {
  const octets = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(name)?.slice(1);
  return octets?.every((octet) => Number(octet) <= 255) === true ? octets.reverse().join('.') : undefined;
}

/** Undefined when it can't be written: the question's name came from outside. */
export function writeResponse(query: Query, code: ResponseCode, answers: readonly Answer[] = []): Buffer | undefined {
  try {
    return encode(responseOf(query, code, answers));
  } catch {
    return undefined;
  }
}

/**
 * As many addresses as fit, and a hint to ask over TCP when these are not all. Over TCP what does not fit is left
 * out: nobody connects to that many.
 */
export function writeAddresses(
  query: Query,
  addresses: readonly string[],
  transport: 'udp' | 'tcp',
): Buffer | undefined {
  const limit = transport === 'udp' ? query.udpBytes : maxTcpBytes;
  const empty = writeResponse(query, 'ok');
  if (empty === undefined) return undefined;
  const { name } = query.question;
  const recordBytes = Buffer.byteLength(name) + 2 + addressRecordBytes;
  const fitting = addresses.slice(0, Math.floor((limit - empty.length) / recordBytes));
  const answers = fitting.map((data): Answer => ({ type: 'A', class: 'IN', name, ttl: timeToLiveS, data }));
  const response = writeResponse(query, 'ok', answers);
  if (transport === 'udp' && fitting.length < addresses.length) markTruncated(response);
  return response;
}

export function writeName(query: Query, name: string): Buffer | undefined {
  return writeResponse(query, 'ok', [
    { type: 'PTR', class: 'IN', name: query.question.name, ttl: timeToLiveS, data: name },
  ]);
}

/** The same message under another id. */
export function withId(packet: Buffer, id: number): Buffer {
  const copy = Buffer.from(packet);
  copy.writeUInt16BE(id, 0);
  return copy;
}

export type Reply = 'answer' | 'truncated' | 'failure' | 'stranger';

/** What a resolver has sent back for `query`; only its question is read, the rest is the client's to understand. */
export function judgeReply(packet: Buffer, id: number, query: Query): Reply {
  if (packet.length < headerBytes) return 'stranger';
  const word = packet.readUInt16BE(2);
  if ((word & isResponse) === 0 || packet.readUInt16BE(0) !== id) return 'stranger';
  const code = word & 0xf;
  const question = questionOf(packet);
  if (question === undefined) {
    // A server that can't read the question may leave it out.
    return code === responseCodes.ok ? 'stranger' : 'failure';
  }
  const { type } = query.question;
  if (plainName(question) !== query.name || question.type !== type || question.class !== 'IN') return 'stranger';
  if (code !== responseCodes.ok && code !== responseCodes.noSuchName) return 'failure';
  return (word & flags.truncated) === 0 ? 'answer' : 'truncated';
}

function questionOf(packet: Buffer): Question | undefined {
  if (packet.readUInt16BE(4) !== 1) return undefined;
  const alone = Buffer.from(packet);
  alone.fill(0, 6, headerBytes);
  return decoded(alone)?.questions?.[0];
}

function decoded(packet: Buffer): DecodedPacket | undefined {
  try {
    return decode(packet);
  } catch {
    return undefined;
  }
}

function fault(id: number, code: ResponseCode): Incoming {
  return { kind: 'fault', response: encode({ type: 'response', id, flags: responseCodes[code] }) };
}

function responseOf(query: Query, code: ResponseCode, answers: readonly Answer[]): Packet {
  const { id, question, extended, recursionDesired } = query;
  const asked = recursionDesired ? flags.recursionDesired : 0;
  const options: Answer = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: maxUdpBytes,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  };
  return {
    type: 'response',
    id,
    flags: flags.authoritative | flags.recursionAvailable | asked | responseCodes[code],
    questions: [question],
    answers: [...answers],
    additionals: extended ? [options] : [],
  };
}

function markTruncated(response: Buffer | undefined): void {
  response?.writeUInt16BE(response.readUInt16BE(2) | flags.truncated, 2);
}

const plainName = (question: Question): string => question.name.toLowerCase().replace(/\.$/, '');
