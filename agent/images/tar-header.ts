/** Reading and writing single tar headers (POSIX.1-2017 pax, ustar; GNU's base-256 numbers). Text is latin1: bytes, one to one. */
import { FrotaError } from '../../proto/base/errors.ts';

export const blockSize = 512;

export interface TarHeader {
  /** As in the block itself, without what extended headers say. */
  readonly name: string;
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
}

/** Where the fields are in a block: offset and length. */
const fields = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  magic: [257, 8],
  major: [329, 8],
  minor: [337, 8],
  prefix: [345, 155],
} as const;

/** GNU's old sparse files: whether blocks with more of the map follow, in the header and in each such block. */
const sparseExtendedInHeader = 482;
const sparseExtendedInBlock = 504;

const posixMagic = 'ustar\0';

/** @throws FrotaError `corrupt` when the block is no header: its checksum or a number is wrong. */
export function parseHeader(block: Buffer): TarHeader {
  if (!checksumFits(block)) throw malformed('a header has a wrong checksum');
  const name = text(block, 'name');
  const prefix = raw(block, 'magic').startsWith(posixMagic) ? text(block, 'prefix') : '';
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    type: raw(block, 'type'),
    mode: numeric(block, 'mode') & 0o7777,
    uid: numeric(block, 'uid'),
    gid: numeric(block, 'gid'),
    size: numeric(block, 'size'),
    mtime: numeric(block, 'mtime'),
  };
}

export const isZeroBlock = (block: Buffer): boolean => block.every((byte) => byte === 0);

/** Whether another block of a GNU sparse map follows this header, or this block of the map. */
export const sparseMapGoesOn = (block: Buffer, isHeader: boolean): boolean =>
  block[isHeader ? sparseExtendedInHeader : sparseExtendedInBlock] !== 0;

/** The same header, saying that no data follows. */
export function withoutSize(block: Buffer): Buffer {
  const copy = Buffer.from(block);
  writeField(copy, 'size', octal(0, fields.size[1]));
  writeChecksum(copy);
  return copy;
}

/** What Frota itself adds to a layer: directories and character devices 0:0. */
export interface WrittenEntry {
  readonly path: string;
  readonly type: 'directory' | 'whiteout';
  readonly mode: number;
  /** PAX records besides the path: owner, time, extended attributes. */
  readonly records: Readonly<Record<string, string>>;
}

/** A PAX header with the path and the records, and the entry's own header. */
export function writeEntry(entry: WrittenEntry): Buffer {
  const body = Buffer.from(paxBody({ path: entry.path, ...entry.records }), 'latin1');
  const padding = Buffer.alloc(paddingAfter(body.length));
  return Buffer.concat([
    writeBlock('PaxHeader', 'x', 0o644, body.length),
    body,
    padding,
    writeBlock('entry', entry.type === 'directory' ? '5' : '3', entry.mode, 0),
  ]);
}

/** Bytes that fill the last block of `size` bytes of data. */
export const paddingAfter = (size: number): number => (blockSize - (size % blockSize)) % blockSize;

/** PAX records, `length key=value\n` each. @throws FrotaError `corrupt`. */
export function parsePax(body: Buffer): ReadonlyMap<string, string> {
  const records = new Map<string, string>();
  for (let offset = 0; offset < body.length;) {
    const space = body.indexOf(0x20, offset);
    const digits = space === -1 ? '' : body.toString('latin1', offset, space);
    const end = offset + Number(digits);
    const equals = body.indexOf(0x3d, space);
    if (!/^[0-9]{1,7}$/.test(digits) || end > body.length || body[end - 1] !== 0x0a || equals === -1 || equals >= end) {
      throw malformed('an extended header is malformed');
    }
    records.set(body.toString('latin1', space + 1, equals), body.toString('latin1', equals + 1, end - 1));
    offset = end;
  }
  return records;
}

/** A decimal number of a PAX record. */
export function paxNumber(value: string, key: string): number {
  if (!/^[0-9]{1,16}$/.test(value)) throw malformed(`an extended header says ${key}=${value}`);
  return Number(value);
}

export const malformed = (why: string): FrotaError => new FrotaError('corrupt', `the archive is damaged: ${why}`);

function paxBody(records: Readonly<Record<string, string>>): string {
  return Object.entries(records)
    .map(([key, value]) => {
      const rest = ` ${key}=${value}\n`;
      // The length counts its own digits.
      let length = rest.length + 1;
      while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
      return `${String(length)}${rest}`;
    })
    .join('');
}

function writeBlock(name: string, type: string, mode: number, size: number): Buffer {
  const block = Buffer.alloc(blockSize);
  writeField(block, 'name', name);
  writeField(block, 'mode', octal(mode, fields.mode[1]));
  for (const field of ['uid', 'gid', 'major', 'minor'] as const) writeField(block, field, octal(0, fields[field][1]));
  writeField(block, 'size', octal(size, fields.size[1]));
  writeField(block, 'mtime', octal(0, fields.mtime[1]));
  writeField(block, 'type', type);
  writeField(block, 'magic', `${posixMagic}00`);
  writeChecksum(block);
  return block;
}

function writeField(block: Buffer, field: keyof typeof fields, value: string): void {
  block.write(value, fields[field][0], fields[field][1], 'latin1');
}

const octal = (value: number, length: number): string => `${value.toString(8).padStart(length - 1, '0')}\0`;

function writeChecksum(block: Buffer): void {
  writeField(block, 'checksum', ' '.repeat(fields.checksum[1]));
  let sum = 0;
  for (const byte of block) sum += byte;
  writeField(block, 'checksum', `${sum.toString(8).padStart(6, '0')}\0 `);
}

/** The sum of all bytes, the checksum's own counted as spaces; some old programs summed signed bytes. */
function checksumFits(block: Buffer): boolean {
  const [offset, length] = fields.checksum;
  let unsigned = 0;
  let signed = 0;
  for (let index = 0; index < blockSize; index += 1) {
    const byte = index >= offset && index < offset + length ? 0x20 : (block[index] ?? 0);
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const stored = numeric(block, 'checksum');
  return stored === unsigned || stored === signed;
}

function raw(block: Buffer, field: keyof typeof fields): string {
  const [offset, length] = fields[field];
  return block.toString('latin1', offset, offset + length);
}

function text(block: Buffer, field: keyof typeof fields): string {
  const value = raw(block, field);
  const end = value.indexOf('\0');
  return end === -1 ? value : value.slice(0, end);
}

/** Octal digits, or, if the first bit is set, a big-endian number (GNU, for what octal can't hold). */
function numeric(block: Buffer, field: keyof typeof fields): number {
  const [offset, length] = fields[field];
  const first = block[offset] ?? 0;
  if ((first & 0x80) !== 0) {
    // Times before 1970 are negative; nothing else may be, and no time before it matters.
    if (first !== 0x80) return field === 'mtime' ? 0 : refuseNumber(field);
    const value = BigInt(`0x${block.toString('hex', offset + 1, offset + length)}`);
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : refuseNumber(field);
  }
  const digits = raw(block, field)
    .replace(/[\0 ]+$/, '')
    .trim();
  const end = digits.indexOf('\0');
  const octalDigits = end === -1 ? digits : digits.slice(0, end).trim();
  if (octalDigits === '') return 0;
  return /^[0-7]+$/.test(octalDigits) ? parseInt(octalDigits, 8) : refuseNumber(field);
}

function refuseNumber(field: string): never {
  throw malformed(`a header's ${field} is no number`);
}
