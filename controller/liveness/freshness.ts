/** PURE: which of the authentic datagrams of one node are new. What was recorded and sent again changes nothing. */
import type { MonoMs } from '../../proto/base/clock.ts';
import { equalBytes } from '../../proto/codec/datagram.ts';
import type { Datagram } from '../../proto/codec/datagram.ts';

export interface Freshness {
  /** The boot id that answered a challenge; absent before the first. */
  readonly bootId?: Uint8Array;
  readonly sequence: number;
  /** The same for all unknown boot ids while it lasts: old datagrams sent again can't crowd out the agent's own. */
  readonly challenge?: { readonly nonce: Uint8Array; readonly sentAtMs: MonoMs };
}

export type Verdict = 'fresh' | 'replayed' | 'challenge';

/** How long a challenge can be answered: many round trips of a bad network. */
export const challengeForMs = 2_000;

export const unknownSender: Freshness = { sequence: 0 };

/**
 * `challenge`: send back the challenge that the returned freshness holds; one datagram for one. A probe's answer is no
 * subject of this: its nonce alone proves that it is new.
 */
export function checkFresh(
  known: Freshness,
  datagram: Datagram,
  nowMs: MonoMs,
  newNonce: () => Uint8Array,
): { readonly verdict: Verdict; readonly known: Freshness } {
  const { bootId, sequence } = datagram;
  if (known.bootId !== undefined && equalBytes(known.bootId, bootId)) {
    if (sequence <= known.sequence) return { verdict: 'replayed', known };
    return { verdict: 'fresh', known: { ...known, sequence } };
  }
  const { challenge } = known;
  const open = challenge !== undefined && nowMs - challenge.sentAtMs < challengeForMs ? challenge : undefined;
  if (datagram.type === 'challenge-answer') {
    if (open === undefined || !equalBytes(open.nonce, datagram.nonce)) return { verdict: 'replayed', known };
    return { verdict: 'fresh', known: { bootId, sequence } };
  }
  return { verdict: 'challenge', known: { ...known, challenge: open ?? { nonce: newNonce(), sentAtMs: nowMs } } };
}
