/** All nodes together: datagrams in, judgements out. Runs in the worker; the sockets and the clock are the caller's. */
import { createHmac, randomBytes } from 'node:crypto';
import type { MonoMs } from '../../proto/base/clock.ts';
import { bootIdBytes, nonceBytes, noNonce, openDatagram, sealDatagram } from '../../proto/codec/datagram.ts';
import type { Datagram, Mac } from '../../proto/codec/datagram.ts';
import { checkFresh, unknownSender } from './freshness.ts';
import type { Freshness } from './freshness.ts';
import { judge, newRecord, probeEveryMs } from './judge.ts';
import type { JudgeInput, NodeRecord } from './judge.ts';
import type { StateChange, WatchedNode } from './messages.ts';
import { startProber } from './prober.ts';
import type { Prober } from './prober.ts';
import type { LivenessSettings } from './settings.ts';

export interface Watcher {
  setNodes(nodes: readonly WatchedNode[]): void;
  /** A datagram; `reply` sends bytes back to where it came from. */
  receive(bytes: Uint8Array, reply: (bytes: Uint8Array) => void): void;
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
}

interface Watched {
  node: WatchedNode;
  mac: Mac;
  record: NodeRecord;
  freshness: Freshness;
  prober?: Prober | undefined;
}

/** There is one epoch of keys until keys can be renewed. */
const currentKeyEpoch = 1;

export function createWatcher({ settings, nowMs, wallNowMs, changed }: WatcherPorts): Watcher {
  const watched = new Map<string, Watched>();
  const seal = createSealer();

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
    if (datagram.type !== 'heartbeat' && datagram.type !== 'challenge-answer') return;
    const { verdict, known } = checkFresh(one.freshness, datagram, nowMs(), newNonce);
    one.freshness = known;
    if (verdict === 'fresh') apply(one, heardInput(datagram, nowMs()));
    else if (verdict === 'challenge') reply(seal(one, 'challenge', known.challenge?.nonce ?? noNonce()));
  }

  return {
    setNodes: (nodes) => {
      forgetOthers(watched, nodes);
      for (const node of nodes) {
        const known = watched.get(node.nodeId);
        const mac = macWith(node.key);
        if (known === undefined) {
          watched.set(node.nodeId, { node, mac, record: newRecord(nowMs()), freshness: unknownSender });
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
    tick: () => {
      for (const one of watched.values()) apply(one, { kind: 'tick', atMs: nowMs(), probeable: probeable(one.node) });
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

/** Seals what this controller says, under one boot id and a rising sequence. */
function createSealer() {
  const bootId = new Uint8Array(randomBytes(bootIdBytes));
  let sequence = 0;
  return (to: Watched, type: 'challenge' | 'probe', nonce: Uint8Array): Uint8Array => {
    sequence += 1;
    const { nodeId } = to.node;
    const said = { type, nodeId, keyEpoch: currentKeyEpoch, bootId, sequence, nonce, restarting: false, stalledMs: 0 };
    return sealDatagram(said, to.mac);
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

function stateChange(before: NodeRecord, after: NodeRecord): Pick<StateChange, 'state' | 'reason'> | undefined {
  const { state, reason } = after;
  if (state === undefined || (state === before.state && reason === before.reason)) return undefined;
  return { state, ...(reason === undefined ? {} : { reason }) };
}

const heardInput = ({ restarting, stalledMs }: Datagram, atMs: MonoMs): JudgeInput => ({
  kind: 'heard',
  atMs,
  restarting,
  stalledMs,
});

const probeable = (node: WatchedNode): boolean => node.address !== '' && node.livenessPort !== 0;
