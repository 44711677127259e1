/** Image registries as the controller uses them, joined: tags to digests, logins in the store. Part of the composition root. */
import type { Clock } from '../proto/base/clock.ts';
import type { RegistryCredential } from '../proto/domain/registry.ts';
import type { ResolvedImage } from '../proto/domain/service.ts';
import { checkLogin } from '../proto/oci/check-login.ts';
import { createRegistryClient } from '../proto/oci/registry-client.ts';
import { resolveDigest } from '../proto/oci/resolve.ts';
import { defaultRetryPolicy } from '../proto/oci/retry.ts';
import type { RegistryPorts } from './api/registries.ts';
import type { ControllerOptions } from './options.ts';
import type { Snapshot } from './plan/snapshot.ts';
import type { Sealer } from './security/sealing.ts';
import { listRegistries, loginTransaction, logoutTransaction, readRegistry } from './store/registries.ts';
import type { Store } from './store/store.ts';
import type { Records } from './store/write-records.ts';

/** Somebody waits for the answer: a registry that restarts is bridged, one that is gone is told soon. */
const resolveRetries = { maxAttempts: 3, budgetMs: 8_000 };
/** A registry that does not answer must not hold an `apply` for longer. */
const resolveTimeoutMs = 30_000;
/** Somebody waits at a prompt. */
const checkTimeoutMs = 15_000;

export interface RegistryParts {
  readonly store: Store;
  readonly records: Records;
  readonly sealer: Sealer;
  readonly snapshot: () => Snapshot;
  readonly options: Pick<ControllerOptions, 'insecureRegistry'>;
  readonly clock: Clock;
}

export interface Registries extends RegistryPorts {
  readonly resolveImage: (reference: string, signal: AbortSignal) => Promise<ResolvedImage>;
  readonly readRegistry: (host: string) => Promise<RegistryCredential | undefined>;
}

export function openRegistries(parts: RegistryParts): Registries {
  const { store, records, sealer, snapshot, clock } = parts;
  const insecureRegistries = parts.options.insecureRegistry;
  const read = (host: string): Promise<RegistryCredential | undefined> => readRegistry(store, sealer, host);
  // Read at each challenge, so that a login holds from the next pull on.
  const credentials = (host: string): Promise<RegistryCredential | undefined> => read(host);
  const retry = { ...defaultRetryPolicy, ...resolveRetries };
  const client = createRegistryClient({ insecureRegistries, retry, credentials });
  return {
    resolveImage: (reference, signal) => {
      const platform = solePlatform([...snapshot().facts.values()]);
      const bounded = AbortSignal.any([signal, AbortSignal.timeout(resolveTimeoutMs)]);
      return resolveDigest(client, reference, { signal: bounded, ...(platform === undefined ? {} : { platform }) });
    },
    readRegistry: read,
    checkRegistry: (credential, signal) => {
      const bounded = AbortSignal.any([signal, AbortSignal.timeout(checkTimeoutMs)]);
      return checkLogin(credential.host, credential, { insecureRegistries, signal: bounded });
    },
    putRegistry: async (credential) => {
      await records.write([loginTransaction(credential, sealer, clock.now().wallMs)]);
    },
    deleteRegistry: async (host) => {
      const known = (await listRegistries(store)).some((each) => each.host === host);
      if (known) await records.write([logoutTransaction(host)]);
      return known;
    },
    listRegistries: () => listRegistries(store),
  };
}

/** With nodes of one platform an image that has nothing for it is refused at apply; with several the node says so. */
function solePlatform(
  facts: readonly { os: string; architecture: string }[],
): { os: string; architecture: string } | undefined {
  const [first, ...others] = facts;
  if (first === undefined) return undefined;
  const same = others.every(({ os, architecture }) => os === first.os && architecture === first.architecture);
  return same ? { os: first.os, architecture: first.architecture } : undefined;
}
