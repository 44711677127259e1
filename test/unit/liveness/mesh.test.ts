import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { meshLimit, meshPeers, spread } from '../../../controller/liveness/mesh.ts';
import { createPings } from '../../../controller/liveness/pings.ts';
import {
  defaultLivenessSettings,
  heartbeatIntervalFor,
  maxHeartbeatsPerSecond,
  settingsFor,
} from '../../../controller/liveness/settings.ts';
import { monoMs } from '../../../proto/base/clock.ts';

const idsOf = (count: number): string[] => Array.from({ length: count }, (_, n) => `n${String(n).padStart(5, '0')}`);

describe('who probes whom', () => {
  it('is everyone in a small cluster, a bounded and mutual set in a large one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(), (count, pick) => {
        const ids = idsOf(count);
        const id = ids[pick % count] ?? '';
        const peers = meshPeers(id, ids);
        expect(peers).not.toContain(id);
        expect(new Set(peers).size).toBe(peers.length);
        expect(peers.length).toBe(count <= meshLimit ? count - 1 : 48);
        for (const peer of peers) expect(meshPeers(peer, ids)).toContain(id);
      }),
      { numRuns: 60 },
    );
    expect(meshPeers('unknown', idsOf(100))).toEqual([]);
  });

  it('asks a few that are spread over all who could be asked', () => {
    expect(spread(idsOf(2), 3)).toEqual(idsOf(2));
    expect(spread(idsOf(9), 3)).toEqual(['n00000', 'n00003', 'n00006']);
  });
});

describe('the interval', () => {
  it('is the base up to a bound; then so long that the controller hears no more datagrams than at the bound', () => {
    expect(heartbeatIntervalFor(1, 100)).toBe(100);
    expect(heartbeatIntervalFor(250, 100)).toBe(100);
    expect(heartbeatIntervalFor(251, 100)).toBe(150);
    expect(heartbeatIntervalFor(5_000, 100)).toBe(2_000);
    expect(heartbeatIntervalFor(5_000, 3_000)).toBe(3_000);
    for (const nodes of [251, 777, 1_000, 3_333, 10_000]) {
      expect((nodes * 1_000) / heartbeatIntervalFor(nodes, 100)).toBeLessThanOrEqual(maxHeartbeatsPerSecond);
    }
  });

  it('never is longer for fewer nodes, and what silence means follows it', () => {
    fc.assert(
      fc.property(fc.nat(10_000), fc.nat(10_000), (a, b) => {
        const few = settingsFor(Math.min(a, b), defaultLivenessSettings);
        const many = settingsFor(Math.max(a, b), defaultLivenessSettings);
        expect(few.heartbeatIntervalMs).toBeLessThanOrEqual(many.heartbeatIntervalMs);
        for (const one of [few, many]) expect(one.suspectAfterMs).toBe(4 * one.heartbeatIntervalMs);
        expect(many.firstContactMs).toBeGreaterThan(many.suspectAfterMs);
      }),
    );
    expect(settingsFor(4, defaultLivenessSettings)).toEqual(defaultLivenessSettings);
  });
});

describe('pings', () => {
  it('are asked at their interval, answered once, and date the answer by the question', () => {
    const pings = createPings();
    expect(pings.due(undefined, monoMs(0))).toBeUndefined();
    expect(pings.due(60, monoMs(1_000))).toBe(1);
    expect(pings.due(60, monoMs(1_059))).toBeUndefined();
    expect(pings.due(60, monoMs(1_060))).toBe(2);
    expect(pings.answered(7)).toBeUndefined();
    expect(pings.answered(2)).toBe(1_060);
    expect(pings.answered(2)).toBeUndefined();
    expect(pings.answered(1)).toBeUndefined();
  });

  it('too old to matter are forgotten', () => {
    const pings = createPings();
    for (let n = 0; n < 20; n += 1) pings.due(1, monoMs(n));
    expect(pings.answered(1)).toBeUndefined();
    expect(pings.answered(20)).toBe(19);
  });
});
