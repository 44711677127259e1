/** Which store the controller keeps its records in, as its command line says. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FrotaError } from '../proto/base/errors.ts';
import type { Logger } from '../proto/base/log.ts';
import type { ControllerOptions } from './options.ts';
import type { EtcdTls } from './store/etcd/member.ts';
import type { Store } from './store/store.ts';

type StoreOptions = Pick<ControllerOptions, 'data' | 'store' | 'storeCa' | 'storeCert' | 'storeKey'>;

/** Each adapter is loaded only when it is used: LMDB is native code, and etcd's client parses its protocol at load. */
export async function openStore(options: StoreOptions, logger: Logger): Promise<Store> {
  if (options.store === undefined) {
    const { openEmbeddedStore } = await import('./store/embedded/embedded-store.ts');
    return openEmbeddedStore(join(options.data, 'store'));
  }
  const { openEtcdStore } = await import('./store/etcd/etcd-store.ts');
  const tls = await readTls(options);
  return openEtcdStore({ endpoints: options.store, logger, ...(tls === undefined ? {} : { tls }) });
}

async function readTls({ storeCa, storeCert, storeKey }: StoreOptions): Promise<EtcdTls | undefined> {
  if (storeCa === undefined) return undefined;
  const ca = await readPem('--store-ca', storeCa);
  if (storeCert === undefined || storeKey === undefined) return { ca };
  return { ca, certificate: await readPem('--store-cert', storeCert), key: await readPem('--store-key', storeKey) };
}

async function readPem(option: string, path: string): Promise<Buffer> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new FrotaError('not-found', `${option} ${path} cannot be read`, { cause });
  }
  if (bytes.includes('-----BEGIN ')) return bytes;
  throw new FrotaError('invalid', `${option} ${path} is no PEM file: it has no line "-----BEGIN …-----"`);
}
