/**
 * One controller's judgement of its nodes: the real, pure judge under virtual time, fed by simulated heartbeats and
 * probes. What is left out of the real worker are sockets, authentication, challenges of boot ids and its own stalls.
 */
import { judge, newRecord, probeEveryMs } from '../../controller/liveness/judge.ts';
import { pingEveryMs } from '../../controller/liveness/judge.ts';
import { meshPeers, spread } from '../../controller/liveness/mesh.ts';
import { createPings } from '../../controller/liveness/pings.ts';
import type { Pings } from '../../controller/liveness/pings.ts';
import type { JudgeInput, NodeRecord } from '../../controller/liveness/judge.ts';
import { defaultLivenessSettings } from '../../controller/liveness/settings.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { monoMs } from '../../proto/base/clock.ts';
import type { Life } from './life.ts';
import type { Tally } from './tally.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface LivenessParts {
  readonly life: Life;
  readonly time: VirtualTime;
  readonly wallMs: () => number;
  readonly note: (what: string) => void;
  /** Sends a probe; the node's answer or refusal comes back as `heard` or `refused`. */
  readonly probe: (nodeId: string) => void;
  /** Asks one node whether it hears another; an answer comes back as `peerHeard`. */
  readonly ask: (peerId: string, aboutId: string) => void;
  /** Asks the node over its session; its answer comes back as `pong`. */
  readonly ping: (nodeId: string, number: number) => void;
  readonly tally: Tally;
}

const nothingHangs = { stalledMs: 0, stalledPart: 'main-thread' } as const;
const settings = defaultLivenessSettings;

interface Watched {
  record: NodeRecord;
  probing: boolean;
  readonly pings: Pings;
}

export class SimulatedLiveness {
  readonly #parts: LivenessParts;
  readonly #watched = new Map<string, Watched>();
  readonly #listeners = new Set<() => void>();
  #states: ReadonlyMap<string, NodeLiveness> = new Map();

  constructor(parts: LivenessParts) {
    this.#parts = parts;
    this.#tickLater();
  }

  setNodes(nodeIds: readonly string[]): void {
    for (const nodeId of [...this.#watched.keys()]) if (!nodeIds.includes(nodeId)) this.#watched.delete(nodeId);
    for (const nodeId of nodeIds) {
      if (!this.#watched.has(nodeId))
        this.#watched.set(nodeId, { record: newRecord(this.#now()), probing: false, pings: createPings() });
    }
    this.#states = new Map([...this.#states].filter(([nodeId]) => this.#watched.has(nodeId)));
  }

  states(): ReadonlyMap<string, NodeLiveness> {
    return this.#states;
  }

  /** When the node was last taken for ready after it was not, virtual time; undefined: it is not. */
  readySinceMs(nodeId: string): number | undefined {
    const record = this.#watched.get(nodeId)?.record;
    return record?.state === 'ready' ? record.sinceMs : undefined;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  heard(nodeId: string, restarting: boolean): 'quiet' | undefined {
    return this.#apply(nodeId, { kind: 'heard', atMs: this.#now(), restarting, ...nothingHangs });
  }

  refused(nodeId: string): 'quiet' | undefined {
    return this.#apply(nodeId, { kind: 'refused', atMs: this.#now() });
  }

  peerHeard(nodeId: string): 'quiet' | undefined {
    return this.#apply(nodeId, { kind: 'peer-heard', atMs: this.#now() });
  }

  pong(nodeId: string, number: number): void {
    const atMs = this.#watched.get(nodeId)?.pings.answered(number);
    if (atMs !== undefined) this.#apply(nodeId, { kind: 'stream-heard', atMs });
  }

  /** As the worker's `#askPeers`: one question a probe. */
  #askPeers(nodeId: string): void {
    const peers = meshPeers(nodeId, [...this.#watched.keys()].sort()).filter((id) => {
      const record = this.#watched.get(id)?.record;
      return record?.state === 'ready' && record.suspicion === undefined;
    });
    for (const id of spread(peers, settings.askedPeers)) this.#parts.ask(id, nodeId);
  }

  #apply(nodeId: string, input: JudgeInput): 'quiet' | undefined {
    const watched = this.#watched.get(nodeId);
    if (watched === undefined || !this.#parts.life.alive) return 'quiet';
    const before = watched.record;
    watched.record = judge(before, input, settings);
    this.#keepProbing(nodeId, watched);
    const { state, reason, sinceMs, overStream } = watched.record;
    if (overStream && !before.overStream) this.#parts.tally.add('nodes heard over their session alone');
    if (state === undefined || (state === before.state && reason === before.reason)) return 'quiet';
    this.#parts.tally.add(reason === undefined ? `judged ${state}` : `judged ${state}: ${reason.replace(/\d+/g, 'N')}`);
    this.#parts.note(`${nodeId} is ${state}${reason === undefined ? '' : `: ${reason}`}`);
    const since = this.#parts.wallMs() - (this.#now() - sinceMs);
    this.#states = new Map(this.#states).set(nodeId, {
      state,
      sinceMs: since,
      ...(reason === undefined ? {} : { reason }),
    });
    for (const listener of this.#listeners) listener();
    return undefined;
  }

  #keepProbing(nodeId: string, watched: Watched): void {
    if (watched.probing || probeEveryMs(watched.record, settings) === undefined) return;
    watched.probing = true;
    this.#probe(nodeId, watched);
  }

  #probe(nodeId: string, watched: Watched): 'quiet' | undefined {
    const everyMs = probeEveryMs(watched.record, settings);
    if (everyMs === undefined || !this.#parts.life.alive || this.#watched.get(nodeId) !== watched) {
      watched.probing = false;
      return 'quiet';
    }
    this.#askPeers(nodeId);
    this.#parts.probe(nodeId);
    const change = this.#apply(nodeId, { kind: 'probe-sent', atMs: this.#now() });
    this.#parts.time.after(everyMs, () => this.#probe(nodeId, watched));
    return change;
  }

  #tickLater(): void {
    this.#parts.time.after(settings.tickMs, () => {
      if (!this.#parts.life.alive) return 'quiet';
      this.#tickLater();
      const changes = [...this.#watched].map(([nodeId, watched]) => {
        const change = this.#apply(nodeId, { kind: 'tick', atMs: this.#now(), probeable: true });
        const number = watched.pings.due(pingEveryMs(watched.record, this.#now(), settings), this.#now());
        if (number === undefined) return change;
        this.#parts.ping(nodeId, number);
        return undefined;
      });
      return changes.every((change) => change === 'quiet') ? 'quiet' : undefined;
    });
  }

  #now() {
    return monoMs(this.#parts.time.nowMs);
  }
}
