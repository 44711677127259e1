/** Where the key of the secrets comes from: a file that is given, a systemd credential, or a file made at the first start. */
import { randomBytes } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { createSecretFile } from './durable-file.ts';
import { secretsKeyBytes } from './sealing.ts';

/** In the controller's data folder. */
export const secretsKeyFile = 'secrets.key';
/** `LoadCredential=frota-key:PATH` (systemd.exec(5)). */
export const secretsCredential = 'frota-key';

export interface SecretsKey {
  readonly key: Uint8Array;
  /** Where it was read. */
  readonly path: string;
}

export interface SecretsKeySources {
  /** `--key-file`. */
  readonly keyFile: string | undefined;
  /** `$CREDENTIALS_DIRECTORY`, which systemd sets where the unit has credentials. */
  readonly credentialsFolder: string | undefined;
  readonly dataFolder: string;
  /** Whether the store holds what only the key in use can open: then none is made. */
  readonly inUse: boolean;
  readonly logger: Logger;
}

/** @throws FrotaError `not-found` when it is missing and must not be made, `corrupt` when it is no key. */
export async function loadSecretsKey(sources: SecretsKeySources): Promise<SecretsKey> {
  const { keyFile, credentialsFolder, dataFolder, inUse, logger } = sources;
  if (keyFile !== undefined) return await readKey(keyFile, '--key-file', logger);
  if (credentialsFolder !== undefined) {
    const path = join(credentialsFolder, secretsCredential);
    if (await exists(path)) return await readKey(path, 'the systemd credential', logger);
  }
  const path = join(dataFolder, secretsKeyFile);
  if (!(await exists(path))) {
    if (inUse) throw missing(path);
    await createSecretFile(path, `${randomBytes(secretsKeyBytes).toString('hex')}\n`);
  }
  return await readKey(path, 'the key of the secrets', logger);
}

async function readKey(path: string, what: string, logger: Logger): Promise<SecretsKey> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new FrotaError('not-found', `${what} ${path} cannot be read; without it no secret can be opened`, { cause });
  }
  const hex = text.trim();
  if (!/^[0-9a-fA-F]{64}$/.test(hex)) {
    // Its length, never its text: half a key is worth protecting, too.
    throw new FrotaError(
      'corrupt',
      `${what} ${path} holds no key: 64 hexadecimal digits are expected, as "openssl rand -hex 32" prints; it has ${String(hex.length)} characters`,
    );
  }
  const { mode } = await stat(path);
  if ((mode & 0o077) !== 0) {
    logger.warn({ path, mode: (mode & 0o777).toString(8) }, 'others can read the key of the secrets; chmod it to 600');
  }
  return { key: Uint8Array.from(Buffer.from(hex, 'hex')), path };
}

const missing = (path: string): FrotaError =>
  new FrotaError(
    'not-found',
    `the store holds secrets or registry passwords, and the key they are sealed with is missing: put back ${path}, or name its place with --key-file`,
  );

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
