/** All nodes together: datagrams in, judgements out. Runs in the worker; the sockets and the clock are the caller's. */
import { createHmac, randomBytes } from 'node:crypto';
import type { MonoMs } from '../../proto/base/clock.ts';
import {
  bootIdBytes,
  equalBytes,
  nonceBytes,
  noNonce,
  openDatagram,
  sealDatagram,
} from '../../proto/codec/datagram.ts';
import type { Datagram, Mac } from '../../proto/codec/datagram.ts';
import { checkFresh, unknownSender } from './freshness.ts';
import type { Freshness } from './freshness.ts';
import { judge, newRecord, pingEveryMs, probeEveryMs } from './judge.ts';
import type { JudgeInput, NodeRecord } from './judge.ts';
import { meshPeers, spread } from './mesh.ts';
import type { StateChange, WatchedNode } from './messages.ts';
import { createPings } from './pings.ts';
import type { Pings } from './pings.ts';
import { startProber } from './prober.ts';
import type { Prober } from './prober.ts';
import { settingsFor } from './settings.ts';
import type { LivenessSettings } from './settings.ts';

export interface Watcher {
  setNodes(nodes: readonly WatchedNode[]): void;
  /** A datagram; `reply` sends bytes back to where it came from. */
  receive(bytes: Uint8Array, reply: (bytes: Uint8Array) => void): void;
  /** The node answered a ping over its session. */
  pong(nodeId: string, number: number): void;
  /** This thread stood still. */
  ownStall(durationMs: number): void;
  tick(): void;
  close(): void;
}

export interface WatcherPorts {
  readonly settings: LivenessSettings;
  readonly nowMs: () => MonoMs;
  readonly wallNowMs: () => number;
  readonly changed: (change: StateChange) => void;
  /** From the socket that all nodes send to. */
  readonly send: (bytes: Uint8Array, to: WatchedNode) => void;
  /** Asks the node over its session; its answer comes back as `pong`. */
  readonly ping: (nodeId: string, number: number) => void;
}

interface Watched {
  node: WatchedNode;
  mac: Mac;
  record: NodeRecord;
  freshness: Freshness;
  prober?: Prober | undefined;
  /** Of the last questions to its peers. */
  readonly asked: Uint8Array[];
  readonly pings: Pings;
}

/** There is one epoch of keys until keys can be renewed. */
const currentKeyEpoch = 1;
/** Answers of peers to older questions come too late to matter: three peers, asked with each probe. */
const maxAsked = 64;
/** Agents that are told to send more often need this long at the most until they do, ms. */
const fasterAfterMs = 5_000;

export const createWatcher = (ports: WatcherPorts): Watcher => new NodeWatcher(ports);

class NodeWatcher implements Watcher {
  readonly #ports: WatcherPorts;
  readonly #watched = new Map<string, Watched>();
  readonly #seal = createSealer();
  #sortedIds: readonly string[] = [];
  #settings: LivenessSettings;
  /** Stricter settings, which hold once the agents have been told. */
  #stricter: { readonly settings: LivenessSettings; readonly fromMs: number } | undefined;

  constructor(ports: WatcherPorts) {
    this.#ports = ports;
    this.#settings = ports.settings;
  }

  setNodes(nodes: readonly WatchedNode[]): void {
    forgetOthers(this.#watched, nodes);
    this.#sortedIds = nodes.map(({ nodeId }) => nodeId).sort();
    this.#adaptTo(nodes.length);
    for (const node of nodes) {
      const known = this.#watched.get(node.nodeId);
      const mac = macWith(node.key);
      if (known === undefined) {
        const record = newRecord(this.#ports.nowMs());
        this.#watched.set(node.nodeId, {
          node,
          mac,
          record,
          freshness: unknownSender,
          asked: [],
          pings: createPings(),
        });
      } else {
        Object.assign(known, { node, mac });
        this.#keepProbing(known);
      }
    }
  }

  ownStall(durationMs: number): void {
    for (const one of this.#watched.values())
      this.#apply(one, { kind: 'own-stall', atMs: this.#ports.nowMs(), durationMs });
  }

  pong(nodeId: string, number: number): void {
    const one = this.#watched.get(nodeId);
    const atMs = one?.pings.answered(number);
    if (one !== undefined && atMs !== undefined) this.#apply(one, { kind: 'stream-heard', atMs });
  }

  tick(): void {
    if (this.#stricter !== undefined && this.#ports.nowMs() >= this.#stricter.fromMs) {
      this.#settings = this.#stricter.settings;
      this.#stricter = undefined;
    }
    for (const one of this.#watched.values()) {
      this.#apply(one, { kind: 'tick', atMs: this.#ports.nowMs(), probeable: probeable(one.node) });
      const number = one.pings.due(pingEveryMs(one.record, this.#ports.nowMs(), this.#settings), this.#ports.nowMs());
      if (number !== undefined) this.#ports.ping(one.node.nodeId, number);
    }
  }

  close(): void {
    for (const { prober } of this.#watched.values()) prober?.close();
    this.#watched.clear();
  }

  #apply(one: Watched, input: JudgeInput): void {
    const before = one.record;
    one.record = judge(before, input, this.#settings);
    const change = stateChange(before, one.record);
    // The record's time is monotonic; people are told the wall time of the same instant.
    const offsetMs = this.#ports.wallNowMs() - this.#ports.nowMs();
    if (change !== undefined)
      this.#ports.changed({ nodeId: one.node.nodeId, ...change, ...wallTimes(one.record, offsetMs) });
    this.#keepProbing(one);
  }

  #keepProbing(one: Watched): void {
    if (!updateProber(one, this.#settings) || one.prober !== undefined) return;
    one.prober = startProber(one.node.address, one.node.livenessPort, {
      seal: (nonce) => this.#seal(one, 'probe', nonce),
      event: (kind) => {
        if (kind === 'probe-sent') this.#askPeers(one);
        if (kind !== 'unsendable') this.#apply(one, { kind, atMs: this.#ports.nowMs() });
        // A controller whose own link is down hears nobody and must bury nobody; one that hears others has a way out.
        else if (hearsOthers(this.#watched.values(), one, this.#ports.nowMs() - this.#settings.suspectAfterMs))
          this.#apply(one, { kind: 'probe-sent', atMs: this.#ports.nowMs() });
      },
      message: (bytes) => {
        this.receive(bytes, () => undefined);
      },
      intervalMs: () => probeEveryMs(one.record, this.#settings) ?? this.#settings.slowProbeIntervalMs,
    });
  }

  /** One question a probe: each makes a peer probe the node once, so that the peers' probes are as many as this controller's. */
  #askPeers(one: Watched): void {
    const peers = meshPeers(one.node.nodeId, this.#sortedIds).filter((id) => {
      const peer = this.#watched.get(id);
      return peer?.record.state === 'ready' && peer.record.suspicion === undefined && probeable(peer.node);
    });
    for (const id of spread(peers, this.#settings.askedPeers)) {
      const peer = this.#watched.get(id);
      if (peer === undefined) continue;
      const nonce = newNonce();
      one.asked.push(nonce);
      if (one.asked.length > maxAsked) one.asked.shift();
      this.#ports.send(this.#seal(peer, 'ask', nonce, one.node.nodeId), peer.node);
    }
  }

  #takePeerHeard({ about = '', nonce }: Datagram): void {
    const one = this.#watched.get(about);
    const index = one?.asked.findIndex((known) => equalBytes(known, nonce)) ?? -1;
    if (one === undefined || index === -1) return;
    one.asked.splice(index, 1);
    this.#apply(one, { kind: 'peer-heard', atMs: this.#ports.nowMs() });
  }

  #adaptTo(nodes: number): void {
    const next = settingsFor(nodes, this.#ports.settings);
    this.#stricter = undefined;
    if (next.suspectAfterMs >= this.#settings.suspectAfterMs) this.#settings = next;
    else this.#stricter = { settings: next, fromMs: this.#ports.nowMs() + fasterAfterMs };
  }

  receive(bytes: Uint8Array, reply: (bytes: Uint8Array) => void): void {
    const opened = openDatagram(bytes, (nodeId, keyEpoch) =>
      keyEpoch === currentKeyEpoch ? this.#watched.get(nodeId)?.mac : undefined,
    );
    const one = opened.kind === 'accepted' ? this.#watched.get(opened.datagram.nodeId) : undefined;
    if (opened.kind === 'refused' || one === undefined) return;
    const { datagram } = opened;
    if (datagram.type === 'probe-answer') {
      if (one.prober?.takeNonce(datagram.nonce) === true) this.#apply(one, heardInput(datagram, this.#ports.nowMs()));
      return;
    }
    if (datagram.type === 'peer-heard') this.#takePeerHeard(datagram);
    if (datagram.type !== 'heartbeat' && datagram.type !== 'challenge-answer') return;
    const { verdict, known } = checkFresh(one.freshness, datagram, this.#ports.nowMs(), newNonce);
    one.freshness = known;
    if (verdict === 'fresh') this.#apply(one, heardInput(datagram, this.#ports.nowMs()));
    else if (verdict === 'challenge') reply(this.#seal(one, 'challenge', known.challenge?.nonce ?? noNonce()));
  }
}

function hearsOthers(watched: Iterable<Watched>, than: Watched, sinceMs: number): boolean {
  for (const one of watched) if (one !== than && one.record.heard && one.record.lastSeenMs > sinceMs) return true;
  return false;
}

const macWith =
  (key: Uint8Array): Mac =>
  (bytes) =>
    createHmac('sha256', key).update(bytes).digest();

function forgetOthers(watched: Map<string, Watched>, nodes: readonly WatchedNode[]): void {
  const wanted = new Set(nodes.map(({ nodeId }) => nodeId));
  for (const [nodeId, { prober }] of watched) {
    if (wanted.has(nodeId)) continue;
    prober?.close();
    watched.delete(nodeId);
  }
}

const newNonce = (): Uint8Array => new Uint8Array(randomBytes(nonceBytes));

/** What only agents say. */
const noNews = { restarting: false, stalledMs: 0, stalledPart: 'main-thread' } as const;

/** Seals what this controller says, under one boot id and a rising sequence. */
function createSealer() {
  const bootId = new Uint8Array(randomBytes(bootIdBytes));
  let sequence = 0;
  return (to: Watched, type: 'challenge' | 'probe' | 'ask', nonce: Uint8Array, about?: string): Uint8Array => {
    sequence += 1;
    const { nodeId } = to.node;
    const said = { type, nodeId, keyEpoch: currentKeyEpoch, bootId, sequence, nonce, ...noNews };
    return sealDatagram(about === undefined ? said : { ...said, about }, to.mac);
  };
}

/** Closes a prober that is not needed or goes to an old address. @returns whether one is needed. */
function updateProber(one: Watched, settings: LivenessSettings): boolean {
  const { address, livenessPort } = one.node;
  const stale = one.prober !== undefined && (one.prober.address !== address || one.prober.port !== livenessPort);
  const wanted = probeEveryMs(one.record, settings) !== undefined && probeable(one.node);
  if (!wanted || stale) {
    one.prober?.close();
    one.prober = undefined;
  }
  return wanted;
}

/** `offsetMs`: from the record's clock to the wall's. */
const wallTimes = (
  { state, sinceMs, lastSeenMs, heard }: NodeRecord,
  offsetMs: number,
): Pick<StateChange, 'sinceMs' | 'silentSinceMs'> => ({
  sinceMs: sinceMs + offsetMs,
  ...(heard && state !== 'ready' && { silentSinceMs: lastSeenMs + offsetMs }),
});

function stateChange(
  before: NodeRecord,
  after: NodeRecord,
): Omit<StateChange, 'nodeId' | 'sinceMs' | 'silentSinceMs'> | undefined {
  const { state, reason, notAccepting, overStream } = after;
  const same = state === before.state && reason === before.reason && notAccepting === before.notAccepting;
  if (state === undefined || (same && overStream === before.overStream)) return undefined;
  return {
    state,
    ...(reason === undefined ? {} : { reason }),
    ...(notAccepting === undefined ? {} : { notAccepting }),
    ...(overStream ? { overStream } : {}),
  };
}

const heardInput = ({ restarting, stalledMs, stalledPart }: Datagram, atMs: MonoMs): JudgeInput => ({
  kind: 'heard',
  atMs,
  restarting,
  stalledMs,
  stalledPart,
});

const probeable = (node: WatchedNode): boolean => node.address !== '' && node.livenessPort !== 0;
