/**
 * LMDB trusts its file: garbage or a missing end crash the process instead of throwing. What can be told beforehand is
 * told here. Layout: liblmdb `mdb.c`, MDB_page header, MDB_meta and MDB_db as in lmdb-js 3.5 on 64-bit, little-endian.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { FrotaError } from '../../../proto/base/errors.ts';

const magic = 0xbeefc0de;
const headerBytes = 24;
const pageSizeOffset = headerBytes + 24;
const lastPageOffset = headerBytes + 120;
const metaBytes = lastPageOffset + 16;
const smallestPage = 512;
const largestPage = 65_536;
/** Reading a store of the largest allowed size once. */
const readThroughTimeoutMs = 120_000;

/** @throws FrotaError `corrupt` for a file that is not an LMDB file or has lost its end. No file, or an empty one, is fine. */
export function checkFile(path: string): void {
  if (!existsSync(path)) return;
  const descriptor = openSync(path, 'r');
  try {
    const { size } = fstatSync(descriptor);
    if (size === 0) return;
    const first = readMeta(descriptor, 0);
    const second = first === undefined ? undefined : readMeta(descriptor, first.pageSize);
    if (first === undefined || second === undefined)
      throw corruptFile(path, 'it is not a store, or its start is damaged');
    const latest = first.transaction >= second.transaction ? first : second;
    // Freed pages at the very end may never have been written: shorter is a suspicion, not yet a finding.
    const expected = (latest.lastPage + 1n) * BigInt(latest.pageSize);
    if (BigInt(size) < expected && !readsThrough(path, latest.transaction)) {
      throw corruptFile(path, `it has ${String(size)} bytes of ${String(expected)}, its end is missing`);
    }
  } finally {
    closeSync(descriptor);
  }
}

export const corruptFile = (path: string, why: string, cause?: unknown): FrotaError =>
  new FrotaError(
    'corrupt',
    `the store ${path} is damaged: ${why}. Put back a copy of it, or move it away to start an empty cluster; what runs on the nodes is not touched by either`,
    cause === undefined ? {} : { cause },
  );

interface Meta {
  readonly pageSize: number;
  readonly lastPage: bigint;
  readonly transaction: bigint;
}

function readMeta(descriptor: number, position: number): Meta | undefined {
  const bytes = Buffer.alloc(metaBytes);
  if (readSync(descriptor, bytes, 0, metaBytes, position) < metaBytes) return undefined;
  const pageSize = bytes.readUInt32LE(pageSizeOffset);
  if (bytes.readUInt32LE(headerBytes) !== magic || pageSize < smallestPage || pageSize > largestPage) return undefined;
  return {
    pageSize,
    lastPage: bytes.readBigUInt64LE(lastPageOffset),
    transaction: bytes.readBigUInt64LE(lastPageOffset + 8),
  };
}

/**
 * Reads every record, and the list of free pages, in a process of its own, which may die of it. LMDB may also fall back
 * silently to the state before the last transaction, or end an iteration early: both would forget what was acknowledged.
 */
function readsThrough(path: string, transaction: bigint): boolean {
  const script = `
    const { ABORT, open } = require(process.argv[1]);
    const db = open({ path: process.argv[2], noSubdir: true, encoding: 'binary', keyEncoding: 'binary' });
    const { lastTxnId, entryCount } = db.getStats();
    if (String(lastTxnId) !== process.argv[3]) process.exit(1);
    let count = 0;
    for (const { value } of db.getRange({})) count += value.length >= 0 ? 1 : 0;
    if (count !== entryCount) process.exit(1);
    db.transactionSync(() => { db.putSync(Buffer.from('m'), Buffer.alloc(1)); return ABORT; });
  `;
  const library = createRequire(import.meta.url).resolve('lmdb');
  const { status } = spawnSync(process.execPath, ['-e', script, library, path, String(transaction)], {
    stdio: 'ignore',
    timeout: readThroughTimeoutMs,
  });
  return status === 0;
}
