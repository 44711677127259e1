/**
 * How the store lies in LMDB. Keys: `k` and the store's key in UTF-8, so that LMDB's order of bytes is the port's order;
 * `m` and a name for what belongs to the file. Values: the mod revision as a 64-bit big-endian number, then the value.
 */
import type { Database } from 'lmdb';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { KeyedRecords } from '../evaluate.ts';
import type { Entry } from '../store.ts';
import { corruptFile } from './file-check.ts';

type Lmdb = Database<Buffer, Buffer>;

const revisionBytes = 8;
const formatVersion = 1;
const formatKey = Buffer.from('mformat');
const revisionKey = Buffer.from('mrevision');

const recordKey = (key: string): Buffer => Buffer.from(`k${key}`);

export function embeddedRecords(database: Lmdb): KeyedRecords {
  return {
    modRevision: (key) => {
      const stored = database.get(recordKey(key));
      return stored === undefined ? 0 : Number(stored.readBigUInt64BE(0));
    },
    put: (key, value, modRevision) => {
      const stored = Buffer.allocUnsafe(revisionBytes + value.length);
      stored.writeBigUInt64BE(BigInt(modRevision), 0);
      stored.set(value, revisionBytes);
      database.putSync(recordKey(key), stored);
    },
    delete: (key) => {
      database.removeSync(recordKey(key));
    },
  };
}

export function readRange(database: Lmdb, prefix: string): readonly Entry[] {
  const start = recordKey(prefix);
  const entries: Entry[] = [];
  for (const { key, value } of database.getRange({ start, end: Buffer.from('l') })) {
    if (!key.subarray(0, start.length).equals(start)) break;
    entries.push({
      key: key.toString('utf8', 1),
      value: Uint8Array.from(value.subarray(revisionBytes)),
      modRevision: Number(value.readBigUInt64BE(0)),
    });
  }
  return entries;
}

/**
 * The revision a store was left at; 0 and its format are written into a new one.
 * @throws FrotaError `unsupported` for a newer format, `corrupt` when a record cannot belong to the store.
 */
export function readRevision(database: Lmdb, path: string): number {
  const format = database.get(formatKey);
  const stored = database.get(revisionKey);
  if (format === undefined && stored === undefined && database.getKeysCount({ limit: 1 }) === 0) {
    database.transactionSync(() => {
      database.putSync(formatKey, Buffer.of(formatVersion));
      writeRevision(database, 0);
    });
    return 0;
  }
  if (format !== undefined && (format[0] ?? 0) > formatVersion) {
    throw new FrotaError(
      'unsupported',
      `the store ${path} has format ${String(format[0])}, this version reads ${String(formatVersion)}: use the newer version of frota that wrote it`,
    );
  }
  if (format?.length !== 1 || stored?.length !== revisionBytes) throw corruptFile(path, 'it has no format or revision');
  const revision = Number(stored.readBigUInt64BE(0));
  let count = 2;
  for (const { key, value } of database.getRange({ start: Buffer.from('k'), end: Buffer.from('l') })) {
    const modRevision = value.length < revisionBytes ? 0 : Number(value.readBigUInt64BE(0));
    if (modRevision === 0 || modRevision > revision) {
      throw corruptFile(path, `the record of key ${JSON.stringify(key.toString('utf8', 1))} cannot be from this store`);
    }
    count += 1;
  }
  // LMDB ends an iteration that meets a damaged page as if there were nothing more.
  const { entryCount } = database.getStats() as { entryCount: number };
  if (count !== entryCount) {
    throw corruptFile(path, `${String(count)} of ${String(entryCount)} records can be read`);
  }
  return revision;
}

export function writeRevision(database: Lmdb, revision: number): void {
  const bytes = Buffer.alloc(revisionBytes);
  bytes.writeBigUInt64BE(BigInt(revision));
  database.putSync(revisionKey, bytes);
}
