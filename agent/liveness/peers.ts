/** This node's peers: probed for its own traffic's sake, and once each time the controller asks. Runs in the worker. */
import { randomBytes } from 'node:crypto';
import type { MonoMs } from '../../proto/base/clock.ts';
import { equalBytes, nonceBytes, openDatagram } from '../../proto/codec/datagram.ts';
import type { LivenessPeer } from '../../proto/codec/dispatch.ts';
import { macWith } from './mac.ts';
import { openLine } from './peer-line.ts';
import type { PeerLine } from './peer-line.ts';
import { defaultRerouteSettings, judgePeers, newPeerRecord, peerProbeEveryMs, takePeer } from './reroute-judge.ts';
import type { PeerInput, PeerRecord } from './reroute-judge.ts';

export interface Peers {
  setPeers(peers: readonly LivenessPeer[]): void;
  /** Those whose endpoints this node uses. */
  setUsed(nodeIds: readonly string[]): void;
  /** The controller wants to know whether this node hears that one. */
  ask(about: string, nonce: Uint8Array): void;
  close(): void;
}

export interface PeerPorts {
  readonly nowMs: () => MonoMs;
  /** A `peer-probe` of this node, sealed; undefined while there is no controller to speak for. */
  readonly seal: (peer: LivenessPeer, nonce: Uint8Array) => Uint8Array | undefined;
  /** The peer answered the question with this nonce. */
  readonly heard: (about: string, nonce: Uint8Array) => void;
  /** All nodes that this one's traffic should avoid, whenever that changes. */
  readonly silent: (nodeIds: readonly string[]) => void;
}

interface Probed {
  readonly line: PeerLine;
  record: PeerRecord;
  /** Of this node's own probes and of the controller's questions; an answer counts once. */
  open: { readonly nonce: Uint8Array; readonly asked: boolean }[];
  nextProbeAtMs: number;
}

const settings = defaultRerouteSettings;
/** Answers to older probes come too late to matter: more than what goes out in `rerouteAfterMs`, questions included. */
const maxOpen = 64;
/** Peers without endpoints that are probed all the same: whoever uses one peer only could not tell its end from his own. */
const witnesses = 2;
/** Turns of this thread later than this, ms, count against no peer. */
const ownStallMs = 50;

export const createPeers = (ports: PeerPorts): Peers => new ProbedPeers(ports);

class ProbedPeers implements Peers {
  readonly #ports: PeerPorts;
  readonly #probed = new Map<string, Probed>();
  #used: readonly string[] = [];
  #told = '';
  #timer: NodeJS.Timeout | undefined;
  #turnDueAtMs = 0;
  #reading: NodeJS.Immediate | undefined;

  constructor(ports: PeerPorts) {
    this.#ports = ports;
    this.#later(settings.probeEveryMs);
  }

  setPeers(peers: readonly LivenessPeer[]): void {
    const wanted = new Map(peers.map((peer) => [peer.nodeId, peer]));
    for (const [nodeId, { line }] of [...this.#probed]) {
      const now = wanted.get(nodeId);
      if (now === undefined || !samePeer(now, line.peer)) this.#forget(nodeId);
    }
    for (const peer of peers) {
      if (this.#probed.has(peer.nodeId) || peer.address === '' || peer.livenessPort === 0) continue;
      const line = openLine(peer, {
        message: (bytes) => {
          this.#receive(peer.nodeId, bytes);
        },
        refused: () => {
          const one = this.#probed.get(peer.nodeId);
          if (one?.line === line) take(one, { kind: 'refused', atMs: this.#ports.nowMs() });
        },
      });
      this.#probed.set(peer.nodeId, { line, record: newPeerRecord, open: [], nextProbeAtMs: 0 });
    }
  }

  setUsed(nodeIds: readonly string[]): void {
    const before = new Set(this.#watchedNow());
    this.#used = nodeIds;
    // What is probed anew has been silent because nobody asked it.
    for (const one of this.#watchedNow()) if (!before.has(one)) one.record = newPeerRecord;
  }

  ask(about: string, nonce: Uint8Array): void {
    const one = this.#probed.get(about);
    if (one !== undefined) this.#probe(one, nonce, true);
  }

  close(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#reading);
    for (const nodeId of [...this.#probed.keys()]) this.#forget(nodeId);
  }

  #receive(nodeId: string, bytes: Uint8Array): void {
    const one = this.#probed.get(nodeId);
    if (one === undefined) return;
    const opened = openDatagram(bytes, (_asker, _epoch, type, about) =>
      type === 'peer-answer' && about === nodeId ? macWith(one.line.peer.key) : undefined,
    );
    if (opened.kind === 'refused') return;
    const { nonce } = opened.datagram;
    const answered = one.open.find((probe) => equalBytes(probe.nonce, nonce));
    if (answered === undefined) return;
    one.open = one.open.filter((probe) => probe !== answered);
    take(one, { kind: 'answered', atMs: this.#ports.nowMs() });
    if (answered.asked) this.#ports.heard(nodeId, nonce);
  }

  #probe(one: Probed, nonce: Uint8Array, asked: boolean): void {
    const bytes = this.#ports.seal(one.line.peer, nonce);
    if (bytes === undefined) return;
    one.open = [...one.open, { nonce, asked }].slice(-maxOpen);
    one.line.send(bytes);
  }

  /** Those used, and a few more to tell a peer's end from this node's own. */
  #watchedNow(): readonly Probed[] {
    const theirs = this.#used.flatMap((nodeId) => this.#probed.get(nodeId) ?? []);
    if (theirs.length === 0) return [];
    return [...theirs, ...[...this.#probed.values()].filter((one) => !theirs.includes(one)).slice(0, witnesses)];
  }

  #turn(): void {
    const now = this.#ports.nowMs();
    const lateMs = now - this.#turnDueAtMs;
    const watched = this.#watchedNow();
    if (lateMs >= ownStallMs)
      for (const one of watched) take(one, { kind: 'own-stall', atMs: now, durationMs: lateMs });
    const records = new Map(watched.map((one) => [one.line.peer.nodeId, one.record]));
    for (const [nodeId, record] of judgePeers(records, now, settings)) {
      const one = this.#probed.get(nodeId);
      if (one !== undefined) one.record = record;
    }
    for (const one of watched) {
      if (now < one.nextProbeAtMs) continue;
      one.nextProbeAtMs = now + peerProbeEveryMs(one.record, now, settings);
      this.#probe(one, new Uint8Array(randomBytes(nonceBytes)), false);
      take(one, { kind: 'sent', atMs: now });
    }
    this.#tellSilent();
    const dueMs = Math.min(...watched.map((one) => one.nextProbeAtMs - now), ...[settings.probeEveryMs]);
    this.#later(Math.max(settings.fastProbeEveryMs, dueMs));
  }

  #tellSilent(): void {
    const out = this.#used.filter((nodeId) => this.#probed.get(nodeId)?.record.out === true).sort();
    if (this.#told === out.join()) return;
    this.#told = out.join();
    this.#ports.silent(out);
  }

  /** What waits in the sockets is read before anybody is judged. */
  #later(inMs: number): void {
    this.#turnDueAtMs = this.#ports.nowMs() + inMs;
    this.#timer = setTimeout(() => {
      this.#reading = setImmediate(() => {
        this.#turn();
      });
    }, inMs);
  }

  #forget(nodeId: string): void {
    this.#probed.get(nodeId)?.line.close();
    this.#probed.delete(nodeId);
  }
}

/** Changes what is known of one peer. */
function take(one: Probed, input: PeerInput): void {
  one.record = takePeer(one.record, input, settings);
}

const samePeer = (a: LivenessPeer, b: LivenessPeer): boolean =>
  a.address === b.address && a.livenessPort === b.livenessPort && equalBytes(a.key, b.key);
