/**
 * Secrets at rest: AES-256-GCM with keys derived (HKDF-SHA256, RFC 5869) from one that is kept outside the store. A copy of
 * the store alone betrays no secret, and neither does a secret's id.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Content } from '../../proto/domain/content.ts';

export interface Sealer {
  /** `context` says what and whose it is: bytes sealed for one place can't be opened as those of another. */
  seal(plain: Uint8Array, context: string): Uint8Array;
  /** @throws FrotaError `corrupt` when the bytes, the key or the context are others than those of `seal`. */
  open(sealed: Uint8Array, context: string): Uint8Array;
  /** Equal contents of one kind have equal ids. A secret's is keyed, so that nobody can try guesses against it. */
  contentId(content: Pick<Content, 'kind' | 'bytes'>): string;
  /** Tells whether a key is the one a store was written with, and nothing of the key. */
  readonly fingerprint: Uint8Array;
}

export const secretsKeyBytes = 32;
/** First byte of everything sealed: another way of sealing would have another number. */
const formatVersion = 1;
/** NIST SP 800-38D: 96 bits, drawn anew each time; 2^32 of them under one key are safe. */
const nonceBytes = 12;
const tagBytes = 16;
const algorithm = 'aes-256-gcm';

export function createSealer(key: Uint8Array): Sealer {
  const derive = (purpose: string): Uint8Array =>
    new Uint8Array(hkdfSync('sha256', key, new Uint8Array(), `frota ${purpose} v1`, secretsKeyBytes));
  const sealingKey = derive('sealing');
  const idKey = derive('content id');
  return {
    seal: (plain, context) => {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv(algorithm, sealingKey, nonce, { authTagLength: tagBytes });
      cipher.setAAD(Buffer.from(context));
      const body = [cipher.update(plain), cipher.final()];
      return Uint8Array.from(Buffer.concat([Buffer.of(formatVersion), nonce, cipher.getAuthTag(), ...body]));
    },
    open: (sealed, context) => {
      const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
      const bodyAt = 1 + nonceBytes + tagBytes;
      if (bytes[0] !== formatVersion || bytes.length < bodyAt) throw unopenable(context);
      const decipher = createDecipheriv(algorithm, sealingKey, bytes.subarray(1, 1 + nonceBytes), {
        authTagLength: tagBytes,
      });
      decipher.setAAD(Buffer.from(context));
      decipher.setAuthTag(bytes.subarray(1 + nonceBytes, bodyAt));
      try {
        return Uint8Array.from(Buffer.concat([decipher.update(bytes.subarray(bodyAt)), decipher.final()]));
      } catch (cause) {
        throw unopenable(context, cause);
      }
    },
    contentId: ({ kind, bytes }) => {
      const hash = kind === 'secret' ? createHmac('sha256', idKey) : createHash('sha256');
      return `${kind}-${hash.update(bytes).digest('hex')}`;
    },
    fingerprint: derive('fingerprint'),
  };
}

const unopenable = (context: string, cause?: unknown): FrotaError =>
  new FrotaError('corrupt', `the stored ${context} can't be opened: it is damaged; put back a copy of the store`, {
    cause,
  });
