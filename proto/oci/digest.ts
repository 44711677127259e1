/** Content digests (image-spec descriptor.md, "Digests"): `algorithm:hex`. */
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { FrotaError } from '../base/errors.ts';

/** The algorithms the specification registers and Node has, with the length of their value in hexadecimal digits. */
const hexLengths: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

/** Whether `text` is a digest this program can verify: a known algorithm and a value of its length, in lower case. */
export function isDigest(text: string): boolean {
  const [algorithm = '', hex = '', ...rest] = text.split(':');
  return rest.length === 0 && hexLengths[algorithm] === hex.length && /^[0-9a-f]+$/.test(hex);
}

/** @throws FrotaError `corrupt` naming `where` when `value` is no digest that can be verified. */
export function checkDigest(value: unknown, where: string): string {
  if (typeof value === 'string' && isDigest(value)) return value;
  throw new FrotaError('corrupt', `${where}: ${JSON.stringify(value ?? null)} is not a sha256 or sha512 digest`);
}

export const algorithmOf = (digest: string): string => digest.slice(0, digest.indexOf(':'));
export const hexOf = (digest: string): string => digest.slice(digest.indexOf(':') + 1);

/** A hash of the algorithm that `digest` was made with. */
export const hashFor = (digest: string): Hash => createHash(algorithmOf(digest));

/** The digest of `bytes`, by `algorithm` (default sha256). */
export function digestOf(bytes: Uint8Array | string, algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}
