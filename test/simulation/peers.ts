/**
 * What one run of the agent hears of its peers: the real judge of reroutes, fed by simulated probes, in the turns of
 * `agent/liveness/peers.ts`. Left out are sockets and keys. A frozen agent takes no turns, and knows it afterwards.
 */
import {
  defaultRerouteSettings,
  judgePeers,
  newPeerRecord,
  peerProbeEveryMs,
  takePeer,
} from '../../agent/liveness/reroute-judge.ts';
import type { PeerRecord } from '../../agent/liveness/reroute-judge.ts';
import { monoMs } from '../../proto/base/clock.ts';
import type { Life } from './life.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface PeersParts {
  readonly life: Life;
  readonly time: VirtualTime;
  /** All other nodes. */
  readonly peers: readonly string[];
  /** Sends one probe; `heard` is called when something comes back. */
  readonly probe: (nodeId: string, heard: (what: 'answered' | 'refused') => void) => void;
  /** All nodes that this one's traffic is to avoid, whenever that changes. */
  readonly silent: (nodeIds: ReadonlySet<string>) => void;
}

const settings = defaultRerouteSettings;
/** As the real one: whoever uses one peer only could not tell its end from his own. */
const witnesses = 2;

export class SimulatedPeers {
  readonly #parts: PeersParts;
  readonly #records = new Map<string, PeerRecord>();
  readonly #nextProbeAtMs = new Map<string, number>();
  #used: readonly string[] = [];
  #frozenSinceMs: number | undefined;
  #told = '';

  constructor(parts: PeersParts) {
    this.#parts = parts;
    this.#turnAfter(settings.probeEveryMs);
  }

  setUsed(nodeIds: readonly string[]): void {
    const before = this.#watched();
    this.#used = nodeIds.filter((nodeId) => this.#parts.peers.includes(nodeId));
    // What is probed anew has been silent because nobody asked it.
    for (const nodeId of this.#watched()) if (!before.includes(nodeId)) this.#records.set(nodeId, newPeerRecord);
  }

  #watched(): readonly string[] {
    if (this.#used.length === 0) return [];
    return [...this.#used, ...this.#parts.peers.filter((one) => !this.#used.includes(one)).slice(0, witnesses)];
  }

  #turnAfter(delayMs: number): void {
    this.#parts.time.after(delayMs, () => {
      if (!this.#parts.life.alive) return 'quiet';
      if (this.#parts.life.frozen) {
        this.#frozenSinceMs ??= this.#now();
        this.#turnAfter(settings.probeEveryMs);
        return 'quiet';
      }
      return this.#turn();
    });
  }

  #turn(): 'quiet' | undefined {
    const now = this.#now();
    const watched = this.#watched();
    if (this.#frozenSinceMs !== undefined) {
      const durationMs = now - this.#frozenSinceMs;
      for (const nodeId of watched) this.#take(nodeId, { kind: 'own-stall', atMs: now, durationMs });
      this.#frozenSinceMs = undefined;
    }
    const records = new Map(watched.map((nodeId) => [nodeId, this.#record(nodeId)]));
    for (const [nodeId, record] of judgePeers(records, now, settings)) this.#records.set(nodeId, record);
    for (const nodeId of watched) {
      if (now < (this.#nextProbeAtMs.get(nodeId) ?? 0)) continue;
      this.#nextProbeAtMs.set(nodeId, now + peerProbeEveryMs(this.#record(nodeId), now, settings));
      this.#parts.probe(nodeId, (kind) => {
        this.#take(nodeId, { kind, atMs: this.#now() });
      });
      this.#take(nodeId, { kind: 'sent', atMs: now });
    }
    const dueMs = Math.min(
      ...watched.map((nodeId) => (this.#nextProbeAtMs.get(nodeId) ?? 0) - now),
      settings.probeEveryMs,
    );
    this.#turnAfter(Math.max(settings.fastProbeEveryMs, dueMs));
    return this.#tellSilent();
  }

  #tellSilent(): 'quiet' | undefined {
    const out = this.#used.filter((nodeId) => this.#record(nodeId).out).sort();
    if (this.#told === out.join()) return 'quiet';
    this.#told = out.join();
    this.#parts.silent(new Set(out));
    return undefined;
  }

  #take(nodeId: string, input: Parameters<typeof takePeer>[1]): void {
    this.#records.set(nodeId, takePeer(this.#record(nodeId), input, settings));
  }

  #record(nodeId: string): PeerRecord {
    return this.#records.get(nodeId) ?? newPeerRecord;
  }

  #now() {
    return monoMs(this.#parts.time.nowMs);
  }
}
