/** What this node pulls with: asked of the controller when a registry wants it, kept in memory, asked again when it is refused. */
import type { CredentialProvider, Credentials } from '../../proto/oci/authorization.ts';

/** Asks the controller; undefined: it has none. @throws FrotaError. */
export type AskCredential = (registry: string, signal: AbortSignal) => Promise<Credentials | undefined>;

/** Registries a node pulls from at a time are a few; the oldest answer goes first. */
const maxKept = 100;

export function createCredentialProvider(ask: AskCredential): CredentialProvider {
  const kept = new Map<string, Credentials | undefined>();
  return async (registry, { signal, refused }) => {
    if (!refused && kept.has(registry)) return kept.get(registry);
    kept.delete(registry);
    const credentials = await ask(registry, signal);
    if (kept.size >= maxKept) kept.delete(kept.keys().next().value ?? '');
    kept.set(registry, credentials);
    return credentials;
  };
}
