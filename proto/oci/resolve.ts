/** From what a person writes to the bytes it stands for now: done once, at apply. */
import { FrotaError } from '../base/errors.ts';
import { parseManifest, selectManifest } from './manifest.ts';
import type { Platform } from './platform.ts';
import { formatReference, parseReference } from './reference.ts';
import type { RegistryClient } from './registry-client.ts';

export interface ResolvedReference {
  /** Canonical, without digest: `registry/repository:tag`; no tag if only a digest was written. */
  readonly reference: string;
  /** Of the manifest or index. */
  readonly digest: string;
}

/**
 * Asks the registry what `text` stands for. A digest in it is kept, and the registry asked whether it has it.
 * With `platform`, an index must have an image for it (`unsupported` otherwise).
 * @throws FrotaError `invalid` (not a reference), `not-found`, `unauthenticated`, `unavailable`, `unsupported`,
 * `corrupt`, `cancelled`; each message names registry, repository and tag, and says what to do.
 */
export async function resolveDigest(
  client: RegistryClient,
  text: string,
  options: { readonly signal: AbortSignal; readonly platform?: Platform },
): Promise<ResolvedReference> {
  const parsed = parseReference(text);
  const { digest: _digest, ...withoutDigest } = parsed;
  const reference = formatReference(withoutDigest);
  if (options.platform === undefined) {
    const digest = await headDigest(client, parsed, options.signal);
    if (digest !== undefined) return { reference, digest: parsed.digest ?? digest };
  }
  const manifest = await client.getManifest(parsed, options);
  if (options.platform !== undefined) {
    const where = formatReference(parsed);
    const image = parseManifest(manifest.bytes, manifest.mediaType, where);
    if (image.kind === 'index') selectManifest(image, options.platform, where);
  }
  return { reference, digest: manifest.digest };
}

/** HEAD is not counted against pull limits, but its errors have no body: what is not found is asked for again in full. */
async function headDigest(
  client: RegistryClient,
  reference: ReturnType<typeof parseReference>,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    return await client.headManifest(reference, { signal });
  } catch (error) {
    if (error instanceof FrotaError && error.code === 'not-found') return undefined;
    throw error;
  }
}
