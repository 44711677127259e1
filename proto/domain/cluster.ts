import { FrotaError } from '../base/errors.ts';

/** Stored record. Writer: `controller/api` (created), and the join that uses it up (deleted). */
export interface JoinTokenRecord {
  readonly id: string;
  /** SHA-256 of the token's secret; the secret itself is nowhere but in the token. */
  readonly secretHash: Uint8Array;
  readonly expiresAtMs: number;
}

/** Stored record, one per cluster. Made at the first start of the first controller; later only `epoch` changes. */
export interface ClusterRecord {
  readonly id: string;
  /** The keys of liveness datagrams derive from it. */
  readonly secret: Uint8Array;
  /** CIDR of all container addresses; each node has a part of it. */
  readonly containerPool: string;
  /** CIDR of all services' virtual addresses. */
  readonly vipPool: string;
  /** Raised by each start of a controller; agents refuse a smaller one than the largest seen. */
  readonly epoch: number;
  /** PEM. */
  readonly caCertificate: string;
}

/** What a join token says. Its text: `frota-ID-SECRET-CADIGEST`. */
export interface JoinToken {
  readonly id: string;
  /** 128 random bits, hexadecimal. */
  readonly secret: string;
  /** The first 128 bits of the SHA-256 of the CA's certificate (DER), hexadecimal: how the machine knows the cluster. */
  readonly caDigest: string;
}

/** Of 128 bits: more would only make the token longer to copy. */
export const caDigestHexDigits = 32;

export const formatJoinToken = ({ id, secret, caDigest }: JoinToken): string => `frota-${id}-${secret}-${caDigest}`;

/** @throws FrotaError `invalid` for what is no join token; it never repeats the text, which may be half a secret. */
export function parseJoinToken(text: string): JoinToken {
  const match = /^frota-([0-9a-z]{10})-([0-9a-f]{32})-([0-9a-f]{32})$/.exec(text.trim());
  const [, id, secret, caDigest] = match ?? [];
  if (id === undefined || secret === undefined || caDigest === undefined) {
    const length = text.trim().length;
    const why = !text.trim().startsWith('frota-') ? 'it does not start with "frota-"' : 'it is cut short or changed';
    throw new FrotaError(
      'invalid',
      `not a join token: ${why} (${String(length)} characters); copy the whole of what "frota cluster token" prints`,
    );
  }
  return { id, secret, caDigest };
}
