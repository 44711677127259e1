import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  defaultRerouteSettings as settings,
  judgePeers,
  newPeerRecord,
  peerProbeEveryMs,
  takePeer,
} from '../../../agent/liveness/reroute-judge.ts';
import type { PeerInput, PeerRecord } from '../../../agent/liveness/reroute-judge.ts';
import { withoutSilent } from '../../../agent/network/reroute.ts';
import { monoMs } from '../../../proto/base/clock.ts';
import type { ServiceUnit } from '../../../proto/domain/assignment.ts';

type Behaviour = 'answer' | 'silent' | 'refuse';

/** Peers under virtual time, probed as the judge asks for it. */
class Scene {
  nowMs = 1_000;
  records: ReadonlyMap<string, PeerRecord>;
  readonly behaviour = new Map<string, Behaviour>();
  readonly #due = new Map<string, number>();

  constructor(...peers: string[]) {
    this.records = new Map(peers.map((id) => [id, newPeerRecord]));
    for (const id of peers) this.behaviour.set(id, 'answer');
    this.pass(500);
  }
  input(id: string, input: PeerInput): void {
    this.records = new Map(this.records).set(id, takePeer(this.records.get(id) ?? newPeerRecord, input, settings));
  }
  pass(ms: number): this {
    for (const end = this.nowMs + ms; this.nowMs < end; this.nowMs += 5) this.#step();
    return this;
  }
  out(): string[] {
    return [...this.records].flatMap(([id, { out }]) => (out ? [id] : []));
  }
  /** Milliseconds until these are out. */
  until(...ids: string[]): number {
    const from = this.nowMs;
    while (this.out().join() !== ids.join() && this.nowMs < from + 10_000) this.pass(5);
    expect(this.out()).toEqual(ids);
    return this.nowMs - from;
  }
  #step(): void {
    const atMs = monoMs(this.nowMs);
    this.records = judgePeers(this.records, atMs, settings);
    for (const [id, record] of this.records) {
      if (this.nowMs < (this.#due.get(id) ?? 0)) continue;
      this.#due.set(id, this.nowMs + peerProbeEveryMs(record, atMs, settings));
      this.input(id, { kind: 'sent', atMs });
      if (this.behaviour.get(id) === 'answer') this.input(id, { kind: 'answered', atMs });
      if (this.behaviour.get(id) === 'refuse') this.input(id, { kind: 'refused', atMs });
    }
  }
}

describe('which peers to avoid', () => {
  it('a silent one, 350 ms after its last answer and fifteen probes; back in after three answers', () => {
    const scene = new Scene('a', 'b');
    scene.behaviour.set('b', 'silent');
    const outMs = scene.until('b');
    expect(outMs).toBeGreaterThanOrEqual(settings.rerouteAfterMs - settings.probeEveryMs);
    expect(outMs).toBeLessThan(450);
    expect(scene.records.get('b')?.fastProbes).toBeGreaterThanOrEqual(settings.fastProbes);
    scene.behaviour.set('b', 'answer');
    const backMs = scene.until();
    expect(backMs).toBeGreaterThan(200);
    expect(backMs).toBeLessThan(400);
  });

  it('none because it refuses: its host lives', () => {
    const scene = new Scene('a', 'b');
    scene.behaviour.set('b', 'refuse');
    expect(scene.pass(5_000).out()).toEqual([]);
  });

  it('none while this node hears nobody: it is its own way out that is gone', () => {
    const scene = new Scene('a', 'b', 'c');
    for (const id of ['a', 'b', 'c']) scene.behaviour.set(id, 'silent');
    expect(scene.pass(5_000).out()).toEqual([]);
    scene.behaviour.set('a', 'answer');
    expect(scene.pass(1_000).out()).toEqual(['b', 'c']);
  });

  it('none that never answered, and none before its probes were sent', () => {
    const scene = new Scene('a');
    scene.records = new Map(scene.records).set('b', newPeerRecord);
    expect(scene.pass(2_000).out()).toEqual([]);
    const late = new Map([
      ['a', { ...newPeerRecord, answeredAtMs: monoMs(10_000) }],
      ['b', { ...newPeerRecord, answeredAtMs: monoMs(5_000) }],
    ]);
    expect(judgePeers(late, monoMs(10_050), settings).get('b')?.out).toBe(false);
  });

  it('none for what this thread slept through', () => {
    const scene = new Scene('a', 'b');
    scene.nowMs += 3_000;
    const atMs = monoMs(scene.nowMs);
    for (const id of ['a', 'b']) scene.input(id, { kind: 'own-stall', atMs, durationMs: 3_000 });
    expect(scene.pass(2_000).out()).toEqual([]);
  });

  it('none that answers one probe in 340 ms, whatever is lost', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 10, max: 340 }), { minLength: 1, maxLength: 40 }), (gaps) => {
        const scene = new Scene('a', 'b');
        scene.behaviour.set('b', 'silent');
        scene.input('b', { kind: 'answered', atMs: monoMs(scene.nowMs) });
        for (const gap of gaps) {
          scene.pass(gap - (gap % 5));
          expect(scene.out()).toEqual([]);
          scene.input('b', { kind: 'answered', atMs: monoMs(scene.nowMs) });
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe('services without silent nodes', () => {
  const service = (...nodeIds: string[]): ServiceUnit => ({
    kind: 'service',
    stack: 's',
    name: 'web',
    vip: '10.96.0.1',
    ports: [],
    endpoints: nodeIds.map((nodeId, n) => ({
      taskId: `t${String(n)}`,
      nodeId,
      address: `10.1.0.${String(n)}`,
      slot: n,
    })),
    members: [],
    networks: [],
  });
  const nodes = (unit: ServiceUnit | undefined): readonly string[] => unit?.endpoints.map(({ nodeId }) => nodeId) ?? [];

  it('lose their endpoints, but never the last', () => {
    const [both, alone] = withoutSilent([service('a', 'b', 'b'), service('b')], new Set(['b']));
    expect(nodes(both)).toEqual(['a']);
    expect(nodes(alone)).toEqual(['b']);
    expect(nodes(withoutSilent([service('a', 'b')], new Set(['a', 'b']))[0])).toEqual(['a', 'b']);
  });
});
