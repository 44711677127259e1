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

export function createWatcher(ports: WatcherPorts): Watcher {
  const { settings: base, nowMs, wallNowMs, changed } = ports;
  const watched = new Map<string, Watched>();
  const seal = createSealer();
  let sortedIds: readonly string[] = [];
  let settings = base;
  /** Stricter settings, which hold once the agents have been told. */
  let stricter: { readonly settings: LivenessSettings; readonly fromMs: number } | undefined;

  function apply(one: Watched, input: JudgeInput): void {
    const before = one.record;
    one.record = judge(before, input, settings);
    const change = stateChange(before, one.record);
    // The record's time is monotonic; people are told the wall time of the same instant.
    const offsetMs = wallNowMs() - nowMs();
    if (change !== undefined) changed({ nodeId: one.node.nodeId, ...change, ...wallTimes(one.record, offsetMs) });
    keepProbing(one);
  }

  function keepProbing(one: Watched): void {
    if (!updateProber(one, settings) || one.prober !== undefined) return;
    one.prober = startProber(one.node.address, one.node.livenessPort, {
      seal: (nonce) => seal(one, 'probe', nonce),
      event: (kind) => {
        if (kind === 'probe-sent') askPeers(one);
        if (kind !== 'unsendable') apply(one, { kind, atMs: nowMs() });
        // A controller whose own link is down hears nobody and must bury nobody; one that hears others has a way out.
        else if (hearsOthers(watched.values(), one, nowMs() - settings.suspectAfterMs))
          apply(one, { kind: 'probe-sent', atMs: nowMs() });
      },
      message: (bytes) => {
        receive(bytes, () => undefined);
      },
      intervalMs: () => probeEveryMs(one.record, settings) ?? settings.slowProbeIntervalMs,
    });
  }

  /** One question a probe: each makes a peer probe the node once, so that the peers' probes are as many as this controller's. */
  function askPeers(one: Watched): void {
    const peers = meshPeers(one.node.nodeId, sortedIds).filter((id) => {
      const peer = watched.get(id);
      return peer?.record.state === 'ready' && peer.record.suspicion === undefined && probeable(peer.node);
    });
    for (const id of spread(peers, settings.askedPeers)) {
      const peer = watched.get(id);
      if (peer === undefined) continue;
      const nonce = newNonce();
      one.asked.push(nonce);
      if (one.asked.length > maxAsked) one.asked.shift();
      ports.send(seal(peer, 'ask', nonce, one.node.nodeId), peer.node);
    }
  }

  function takePeerHeard({ about = '', nonce }: Datagram): void {
    const one = watched.get(about);
    const index = one?.asked.findIndex((known) => equalBytes(known, nonce)) ?? -1;
    if (one === undefined || index === -1) return;
    one.asked.splice(index, 1);
    apply(one, { kind: 'peer-heard', atMs: nowMs() });
  }

  function adaptTo(nodes: number): void {
    const next = settingsFor(nodes, base);
    stricter = undefined;
    if (next.suspectAfterMs >= settings.suspectAfterMs) settings = next;
    else stricter = { settings: next, fromMs: nowMs() + fasterAfterMs };
  }

  function receive(bytes: Uint8Array, reply: (bytes: Uint8Array) => void): void {
    const opened = openDatagram(bytes, (nodeId, keyEpoch) =>
      keyEpoch === currentKeyEpoch ? watched.get(nodeId)?.mac : undefined,
    );
    const one = opened.kind === 'accepted' ? watched.get(opened.datagram.nodeId) : undefined;
    if (opened.kind === 'refused' || one === undefined) return;
    const { datagram } = opened;
    if (datagram.type === 'probe-answer') {
      if (one.prober?.takeNonce(datagram.nonce) === true) apply(one, heardInput(datagram, nowMs()));
      return;
    }
    if (datagram.type === 'peer-heard') takePeerHeard(datagram);
    if (datagram.type !== 'heartbeat' && datagram.type !== 'challenge-answer') return;
    const { verdict, known } = checkFresh(one.freshness, datagram, nowMs(), newNonce);
    one.freshness = known;
    if (verdict === 'fresh') apply(one, heardInput(datagram, nowMs()));
    else if (verdict === 'challenge') reply(seal(one, 'challenge', known.challenge?.nonce ?? noNonce()));
  }

  return {
    setNodes: (nodes) => {
      forgetOthers(watched, nodes);
      sortedIds = nodes.map(({ nodeId }) => nodeId).sort();
      adaptTo(nodes.length);
      for (const node of nodes) {
        const known = watched.get(node.nodeId);
        const mac = macWith(node.key);
        if (known === undefined) {
          const record = newRecord(nowMs());
          watched.set(node.nodeId, { node, mac, record, freshness: unknownSender, asked: [], pings: createPings() });
        } else {
          Object.assign(known, { node, mac });
          keepProbing(known);
        }
      }
    },
    receive,
    ownStall: (durationMs) => {
      for (const one of watched.values()) apply(one, { kind: 'own-stall', atMs: nowMs(), durationMs });
    },
    pong: (nodeId, number) => {
      const one = watched.get(nodeId);
      const atMs = one?.pings.answered(number);
      if (one !== undefined && atMs !== undefined) apply(one, { kind: 'stream-heard', atMs });
    },
    tick: () => {
      if (stricter !== undefined && nowMs() >= stricter.fromMs) {
        settings = stricter.settings;
        stricter = undefined;
      }
      for (const one of watched.values()) {
        apply(one, { kind: 'tick', atMs: nowMs(), probeable: probeable(one.node) });
        const number = one.pings.due(pingEveryMs(one.record, nowMs(), settings), nowMs());
        if (number !== undefined) ports.ping(one.node.nodeId, number);
      }
    },
    close: () => {
      for (const { prober } of watched.values()) prober?.close();
      watched.clear();
    },
  };
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
