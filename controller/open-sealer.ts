/** The key of what is sealed in the store, found as the command line says. Part of the composition root. */
import type { Logger } from '../proto/base/log.ts';
import type { ControllerOptions } from './options.ts';
import { createSealer } from './security/sealing.ts';
import type { Sealer } from './security/sealing.ts';
import { loadSecretsKey } from './security/secrets-key.ts';
import { adoptSealingKey, hasSealedRecords } from './store/sealed-records.ts';
import type { Store } from './store/store.ts';

/** Before this controller leads: without the key of what is stored it must not decide anything. */
export async function openSealer(options: ControllerOptions, store: Store, logger: Logger): Promise<Sealer> {
  const { key, path } = await loadSecretsKey({
    keyFile: options.keyFile,
    credentialsFolder: process.env['CREDENTIALS_DIRECTORY'],
    dataFolder: options.data,
    inUse: await hasSealedRecords(store),
    logger,
  });
  const sealer = createSealer(key);
  await adoptSealingKey(store, sealer.fingerprint, path);
  return sealer;
}
