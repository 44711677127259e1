/** What this node pulls with: asked of the controller when a registry wants it, kept in memory, asked again when it is refused or old. */
import type { Clock, MonoMs } from '../../proto/base/clock.ts';
import { FrotaError } from '../../proto/base/errors.ts';
import type { CredentialProvider, Credentials } from '../../proto/oci/authorization.ts';

/** Asks the controller; undefined: it has none. @throws FrotaError. */
export type AskCredential = (registry: string, signal: AbortSignal) => Promise<Credentials | undefined>;

interface Kept {
  readonly credentials: Credentials | undefined;
  readonly askedAtMs: MonoMs;
}

/** Registries a node pulls from at a time are a few; the oldest answer goes first. */
const maxKept = 100;
/** So long a node may pull as somebody who has been logged out; many layers of one image ask once. */
const keptForMs = 60_000;

export function createCredentialProvider(ask: AskCredential, clock: Clock): CredentialProvider {
  const kept = new Map<string, Kept>();
  return async (registry, { signal, refused }) => {
    const before = refused ? undefined : kept.get(registry);
    const askedAtMs = clock.now().monoMs;
    if (before !== undefined && askedAtMs - before.askedAtMs < keptForMs) return before.credentials;
    try {
      const credentials = await ask(registry, signal);
      kept.delete(registry);
      if (kept.size >= maxKept) kept.delete(kept.keys().next().value ?? '');
      kept.set(registry, { credentials, askedAtMs });
      return credentials;
    } catch (error) {
      // A pull that is under way does not end because the controller restarts.
      if (before !== undefined && FrotaError.from(error).code === 'unavailable') return before.credentials;
      throw error;
    }
  };
}
