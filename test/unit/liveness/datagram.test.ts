import { createHmac, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { challengeForMs, checkFresh, unknownSender } from '../../../controller/liveness/freshness.ts';
import type { Freshness, Verdict } from '../../../controller/liveness/freshness.ts';
import { monoMs } from '../../../proto/base/clock.ts';
import {
  datagramTypes,
  maxDatagramBytes,
  maxNodeIdBytes,
  noNonce,
  openDatagram,
  sealDatagram,
  stalledParts,
} from '../../../proto/codec/datagram.ts';
import type { Datagram, Mac } from '../../../proto/codec/datagram.ts';

const macOf =
  (key: string): Mac =>
  (bytes) =>
    createHmac('sha256', key).update(bytes).digest();

const heartbeat = (over: Partial<Datagram> = {}): Datagram => ({
  type: 'heartbeat',
  nodeId: 'node1',
  keyEpoch: 1,
  bootId: new Uint8Array(16).fill(1),
  sequence: 1,
  nonce: noNonce(),
  restarting: false,
  stalledMs: 0,
  stalledPart: 'main-thread',
  ...over,
});
const open = (bytes: Uint8Array, key = 'k'): string => {
  const opened = openDatagram(bytes, (id) => (id === 'node1' ? macOf(key) : undefined));
  return opened.kind === 'accepted' ? 'accepted' : opened.why;
};

describe('datagram', () => {
  it('comes back as it was sealed', () => {
    const bytes16 = fc.uint8Array({ minLength: 16, maxLength: 16 });
    const datagrams = fc.record<Datagram>({
      type: fc.constantFrom(...datagramTypes),
      nodeId: fc.stringMatching(/^[a-z0-9é-]{1,30}$/),
      keyEpoch: fc.nat(0xffff_ffff),
      bootId: bytes16,
      sequence: fc.nat(Number.MAX_SAFE_INTEGER),
      nonce: bytes16,
      restarting: fc.boolean(),
      stalledMs: fc.nat(0xffff_ffff),
      stalledPart: fc.constantFrom(...stalledParts),
    });
    const withAbout = fc
      .tuple(datagrams, fc.option(fc.stringMatching(/^[a-z0-9é-]{1,30}$/), { nil: undefined }))
      .map(([datagram, about]) => (about === undefined ? datagram : { ...datagram, about }));
    fc.assert(
      fc.property(withAbout, (datagram) => {
        // At an odd offset of a larger buffer, as a socket may hand it out.
        const sealed = sealDatagram(datagram, macOf('k'));
        const within = new Uint8Array(sealed.length + 7);
        within.set(sealed, 3);
        const opened = openDatagram(within.subarray(3, 3 + sealed.length), () => macOf('k'));
        expect(opened).toEqual({ kind: 'accepted', datagram });
      }),
    );
    const longest = heartbeat({ nodeId: 'x'.repeat(maxNodeIdBytes), about: 'y'.repeat(maxNodeIdBytes) });
    expect(sealDatagram(longest, macOf('k'))).toHaveLength(maxDatagramBytes);
  });

  it('refuses every changed bit, another key, another node, another version, and what is cut or longer', () => {
    const sealed = sealDatagram(heartbeat(), macOf('k'));
    expect(open(sealed)).toBe('accepted');
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const changed = Uint8Array.from(sealed);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(open(changed)).not.toBe('accepted');
    }
    expect(open(sealed, 'other')).toBe('mac');
    expect(open(sealDatagram(heartbeat({ nodeId: 'node2' }), macOf('k')))).toBe('key');
    expect(open(Uint8Array.from(sealed, (byte, index) => (index === 2 ? 9 : byte)))).toBe('version');
    expect(open(sealed.subarray(0, -1))).toBe('garbage');
    expect(open(Uint8Array.from([...sealed, 0]))).toBe('mac');
    expect(open(Uint8Array.from([...sealed, ...new Uint8Array(100)]))).toBe('garbage');
  });

  it('throws on nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, ours) => {
        if (ours) bytes.set([0x46, 0x52, 1].slice(0, bytes.length));
        expect(openDatagram(bytes, () => macOf('k')).kind).toBe('refused');
      }),
      { numRuns: 500 },
    );
  });
});

describe('freshness', () => {
  const nonce = (): Uint8Array => new Uint8Array(randomBytes(16));
  const boot = (n: number): Uint8Array => new Uint8Array(16).fill(n);

  class Node {
    known: Freshness = unknownSender;
    nowMs = 0;
    check(over: Partial<Datagram>): Verdict {
      const { verdict, known } = checkFresh(this.known, heartbeat(over), monoMs(this.nowMs), nonce);
      this.known = known;
      return verdict;
    }
    answer(bootId: Uint8Array, sequence: number): Verdict {
      return this.check({
        type: 'challenge-answer',
        bootId,
        sequence,
        nonce: this.known.challenge?.nonce ?? noNonce(),
      });
    }
  }

  it('accepts a boot id only after a challenge, then only rising sequences', () => {
    const node = new Node();
    expect(node.check({ bootId: boot(1), sequence: 1 })).toBe('challenge');
    expect(node.check({ bootId: boot(1), sequence: 2 })).toBe('challenge');
    expect(node.answer(boot(1), 3)).toBe('fresh');
    expect(node.check({ bootId: boot(1), sequence: 3 })).toBe('replayed');
    expect(node.check({ bootId: boot(1), sequence: 2 })).toBe('replayed');
    expect(node.check({ bootId: boot(1), sequence: 9 })).toBe('fresh');
  });

  it('takes a wrong, late or repeated answer for nothing', () => {
    const node = new Node();
    expect(node.answer(boot(1), 1)).toBe('replayed');
    node.check({ bootId: boot(1), sequence: 1 });
    expect(node.check({ type: 'challenge-answer', bootId: boot(1), sequence: 2, nonce: nonce() })).toBe('replayed');
    const before = node.known;
    node.nowMs += challengeForMs;
    expect(node.answer(boot(1), 2)).toBe('replayed');
    node.nowMs = 0;
    node.known = before;
    expect(node.answer(boot(1), 2)).toBe('fresh');
    expect(node.answer(boot(1), 2)).toBe('replayed');
  });

  it('lets old boot ids neither in again nor crowd out the new one', () => {
    const node = new Node();
    node.check({ bootId: boot(1), sequence: 1 });
    node.answer(boot(1), 2);
    expect(node.check({ bootId: boot(2), sequence: 1 })).toBe('challenge');
    expect(node.check({ bootId: boot(3), sequence: 700 })).toBe('challenge');
    expect(node.check({ bootId: boot(1), sequence: 3 })).toBe('fresh');
    expect(node.answer(boot(2), 2)).toBe('fresh');
    expect(node.check({ bootId: boot(1), sequence: 4 })).toBe('challenge');
    expect(node.check({ bootId: boot(2), sequence: 3 })).toBe('fresh');
  });
});
