/**
 * The datagrams of liveness, as bytes. Version 1, numbers big-endian:
 *
 *     0  "FR"        2  version      3  type        4  flags        5  length N of the node id
 *     6  key epoch (4)              10  a part of the agent stalled, ms (4)
 *    14  boot id (16)               30  sequence (8)
 *    38  nonce (16)                 54  node id, UTF-8 (N)
 *    54+N  `about`: id of another node, UTF-8, often empty (what is left)
 *    last 16  MAC: HMAC-SHA256 of all before, first 16 bytes
 *
 * Between controller and agent both directions use the node's key, between two agents the key of that pair; a datagram's
 * type says who may have sent it, so none can be turned back on its sender.
 */

/**
 * Agent → controller: `heartbeat`, `challenge-answer`, `probe-answer`, and `peer-heard`: the node it was asked about has
 * just answered it. Controller → agent: `challenge`, `probe`, and `ask`: probe the node `about`. Agent → agent:
 * `peer-probe` and `peer-answer`.
 */
export const datagramTypes = [
  'heartbeat',
  'challenge',
  'challenge-answer',
  'probe',
  'probe-answer',
  'ask',
  'peer-heard',
  'peer-probe',
  'peer-answer',
] as const;
export type DatagramType = (typeof datagramTypes)[number];

/** What of an agent can hang while its heart beats. */
export const stalledParts = ['main-thread', 'disk', 'runtime'] as const;
export type StalledPart = (typeof stalledParts)[number];

export interface Datagram {
  readonly type: DatagramType;
  /** The agent's node, in both directions; between agents the one that asks. */
  readonly nodeId: string;
  /** The node that `ask` and `peer-heard` speak of, or that a peer probes; absent in all others. */
  readonly about?: string;
  readonly keyEpoch: number;
  /** 16 bytes, new at each start of the sender. */
  readonly bootId: Uint8Array;
  /** Rises with every datagram of one boot id. */
  readonly sequence: number;
  /** 16 random bytes of a challenge or probe, repeated in its answer; zeros in a heartbeat. */
  readonly nonce: Uint8Array;
  /** The agent was told to stop and expects to be back. */
  readonly restarting: boolean;
  /** For how long `stalledPart` has made no progress, ms; 0 while everything does. */
  readonly stalledMs: number;
  readonly stalledPart: StalledPart;
}

/** HMAC-SHA256 of the bytes with the key of one node; 32 bytes. */
export type Mac = (bytes: Uint8Array) => Uint8Array;

/**
 * What a node's MAC is taken of to make the key of the datagrams between it and a peer that probes it: the node can make that
 * key itself, the asker is given it, and nobody else can make it. No datagram begins like this.
 */
export const pairKeyText = (asker: string): Uint8Array => new TextEncoder().encode(`frota liveness v1 peer ${asker}`);

export type OpenedDatagram =
  | { readonly kind: 'accepted'; readonly datagram: Datagram }
  /** `version`: made by another version of Frota; `key`: no key for this node and epoch; `mac`: wrong key, or changed. */
  | { readonly kind: 'refused'; readonly why: 'garbage' | 'version' | 'key' | 'mac' };

export const bootIdBytes = 16;
export const nonceBytes = 16;
export const macBytes = 16;
/** Node ids are 12 characters today; one byte holds the length. */
export const maxNodeIdBytes = 64;

const version = 1;
const magic = [0x46, 0x52] as const;
const headerBytes = 54;
const restartingFlag = 1;
/** The two bits of the flags above that one. */
const stalledPartShift = 1;
const maxUint32 = 0xffff_ffff;

/** Nothing larger can be a datagram of ours. */
export const maxDatagramBytes = headerBytes + 2 * maxNodeIdBytes + macBytes;
export const noNonce = (): Uint8Array => new Uint8Array(nonceBytes);

export function sealDatagram(datagram: Datagram, mac: Mac): Uint8Array {
  const id = new TextEncoder().encode(datagram.nodeId);
  const about = new TextEncoder().encode(datagram.about ?? '');
  const bytes = new Uint8Array(headerBytes + id.length + about.length + macBytes);
  const view = new DataView(bytes.buffer);
  bytes.set([
    ...magic,
    version,
    datagramTypes.indexOf(datagram.type),
    (datagram.restarting ? restartingFlag : 0) | (stalledParts.indexOf(datagram.stalledPart) << stalledPartShift),
    id.length,
  ]);
  view.setUint32(6, datagram.keyEpoch);
  view.setUint32(10, Math.min(maxUint32, Math.max(0, Math.round(datagram.stalledMs))));
  bytes.set(datagram.bootId.subarray(0, bootIdBytes), 14);
  view.setBigUint64(30, BigInt(datagram.sequence));
  bytes.set(datagram.nonce.subarray(0, nonceBytes), 38);
  bytes.set(id, headerBytes);
  bytes.set(about, headerBytes + id.length);
  const signed = bytes.subarray(0, headerBytes + id.length + about.length);
  bytes.set(mac(signed).subarray(0, macBytes), signed.length);
  return bytes;
}

/** Never throws: what comes from the network is a value, good or refused. `macFor` is asked before anything is believed. */
export function openDatagram(
  bytes: Uint8Array,
  macFor: (nodeId: string, keyEpoch: number, type: DatagramType, about: string) => Mac | undefined,
): OpenedDatagram {
  if (bytes.length < headerBytes + 1 + macBytes || bytes.length > maxDatagramBytes) return refused('garbage');
  if (bytes[0] !== magic[0] || bytes[1] !== magic[1]) return refused('garbage');
  if (bytes[2] !== version) return refused('version');
  const type = datagramTypes[bytes[3] ?? datagramTypes.length];
  const idEnd = headerBytes + (bytes[5] ?? 0);
  const signedBytes = bytes.length - macBytes;
  if (type === undefined || idEnd === headerBytes || signedBytes < idEnd || idEnd - headerBytes > maxNodeIdBytes)
    return refused('garbage');
  if (signedBytes - idEnd > maxNodeIdBytes) return refused('garbage');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sequence = view.getBigUint64(30);
  if (sequence > BigInt(Number.MAX_SAFE_INTEGER)) return refused('garbage');
  const nodeId = new TextDecoder().decode(bytes.subarray(headerBytes, idEnd));
  const about = new TextDecoder().decode(bytes.subarray(idEnd, signedBytes));
  const keyEpoch = view.getUint32(6);
  const mac = macFor(nodeId, keyEpoch, type, about);
  if (mac === undefined) return refused('key');
  if (!equalBytes(mac(bytes.subarray(0, signedBytes)).subarray(0, macBytes), bytes.subarray(signedBytes))) {
    return refused('mac');
  }
  const datagram: Datagram = {
    type,
    nodeId,
    ...(about === '' ? {} : { about }),
    keyEpoch,
    bootId: bytes.slice(14, 14 + bootIdBytes),
    sequence: Number(sequence),
    nonce: bytes.slice(38, 38 + nonceBytes),
    restarting: ((bytes[4] ?? 0) & restartingFlag) !== 0,
    stalledMs: view.getUint32(10),
    // A part that a later version adds is as good a reason as any of these.
    stalledPart: stalledParts[((bytes[4] ?? 0) >> stalledPartShift) & 3] ?? 'main-thread',
  };
  return { kind: 'accepted', datagram };
}

/** Takes as long for the first byte that differs as for the last, so that a MAC can't be guessed byte by byte. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i += 1) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}

const refused = (why: 'garbage' | 'version' | 'key' | 'mac'): OpenedDatagram => ({ kind: 'refused', why });
