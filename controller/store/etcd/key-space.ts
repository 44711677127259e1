/** Keys of the store below one prefix of etcd, so that an etcd may serve others too. */
import type { IEvent, IKeyValue } from 'etcd3';
import type { Entry, WatchBatch } from '../store.ts';

/** All that Frota stores. One cluster an etcd: a second one would be told that its authority does not fit. */
export const clusterPrefix = '/frota/';

export interface KeySpace {
  key(key: string): Buffer;
  /** All keys that start with `prefix`, as etcd takes it. */
  range(prefix: string): { readonly key: Buffer; readonly range_end: Buffer };
  entry(stored: IKeyValue): Entry;
  change(event: IEvent): WatchBatch['changes'][number];
}

export function createKeySpace(root: string): KeySpace {
  const rootBytes = Buffer.byteLength(root);
  const key = (name: string): Buffer => Buffer.from(root + name);
  const nameOf = (stored: IKeyValue): string => stored.key.toString('utf8', rootBytes);
  const entry = (stored: IKeyValue): Entry => ({
    key: nameOf(stored),
    // A copy: the library's buffers are pieces of whole messages, which they would keep in memory.
    value: Uint8Array.from(stored.value),
    modRevision: Number(stored.mod_revision),
  });
  return {
    key,
    range: (prefix) => ({ key: key(prefix), range_end: after(key(prefix)) }),
    entry,
    change: (event) =>
      event.type === 'Put' ? { kind: 'put', entry: entry(event.kv) } : { kind: 'delete', key: nameOf(event.kv) },
  };
}

/** The first key behind all that start with these bytes. UTF-8 has no byte 255, so the last one can be raised. */
function after(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end.writeUInt8(end.readUInt8(end.length - 1) + 1, end.length - 1);
  return end;
}
