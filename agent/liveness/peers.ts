/** This node's peers: probed for its own traffic's sake, and once each time the controller asks. Runs in the worker. */
import { createHmac, randomBytes } from 'node:crypto';
import type { MonoMs } from '../../proto/base/clock.ts';
import { equalBytes, nonceBytes, openDatagram } from '../../proto/codec/datagram.ts';
import type { LivenessPeer } from '../../proto/codec/dispatch.ts';
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

export function createPeers(ports: PeerPorts): Peers {
  const { nowMs } = ports;
  const probed = new Map<string, Probed>();
  let used: readonly string[] = [];
  let told = '';
  let timer: NodeJS.Timeout | undefined;
  let turnDueAtMs = 0;
  let reading: NodeJS.Immediate | undefined;

  const take = (one: Probed, input: PeerInput): void => {
    one.record = takePeer(one.record, input, settings);
  };

  function receive(nodeId: string, bytes: Uint8Array): void {
    const one = probed.get(nodeId);
    if (one === undefined) return;
    const opened = openDatagram(bytes, (_asker, _epoch, type, about) =>
      type === 'peer-answer' && about === nodeId
        ? (signed) => createHmac('sha256', one.line.peer.key).update(signed).digest()
        : undefined,
    );
    if (opened.kind === 'refused') return;
    const { nonce } = opened.datagram;
    const answered = one.open.find((probe) => equalBytes(probe.nonce, nonce));
    if (answered === undefined) return;
    one.open = one.open.filter((probe) => probe !== answered);
    take(one, { kind: 'answered', atMs: nowMs() });
    if (answered.asked) ports.heard(nodeId, nonce);
  }

  function probe(one: Probed, nonce: Uint8Array, asked: boolean): void {
    const bytes = ports.seal(one.line.peer, nonce);
    if (bytes === undefined) return;
    one.open = [...one.open, { nonce, asked }].slice(-maxOpen);
    one.line.send(bytes);
  }

  /** Those used, and a few more to tell a peer's end from this node's own. */
  function watchedNow(): readonly Probed[] {
    const theirs = used.flatMap((nodeId) => probed.get(nodeId) ?? []);
    if (theirs.length === 0) return [];
    return [...theirs, ...[...probed.values()].filter((one) => !theirs.includes(one)).slice(0, witnesses)];
  }

  function turn(): void {
    const now = nowMs();
    const lateMs = now - turnDueAtMs;
    const watched = watchedNow();
    if (lateMs >= ownStallMs)
      for (const one of watched) take(one, { kind: 'own-stall', atMs: now, durationMs: lateMs });
    const records = new Map(watched.map((one) => [one.line.peer.nodeId, one.record]));
    for (const [nodeId, record] of judgePeers(records, now, settings)) {
      const one = probed.get(nodeId);
      if (one !== undefined) one.record = record;
    }
    for (const one of watched) {
      if (now < one.nextProbeAtMs) continue;
      one.nextProbeAtMs = now + peerProbeEveryMs(one.record, now, settings);
      probe(one, new Uint8Array(randomBytes(nonceBytes)), false);
      take(one, { kind: 'sent', atMs: now });
    }
    tellSilent();
    const dueMs = Math.min(...watched.map((one) => one.nextProbeAtMs - now), ...[settings.probeEveryMs]);
    later(Math.max(settings.fastProbeEveryMs, dueMs));
  }

  function tellSilent(): void {
    const out = used.filter((nodeId) => probed.get(nodeId)?.record.out === true).sort();
    if (told === out.join()) return;
    told = out.join();
    ports.silent(out);
  }

  /** What waits in the sockets is read before anybody is judged. */
  function later(inMs: number): void {
    turnDueAtMs = nowMs() + inMs;
    timer = setTimeout(() => {
      reading = setImmediate(turn);
    }, inMs);
  }

  function forget(nodeId: string): void {
    probed.get(nodeId)?.line.close();
    probed.delete(nodeId);
  }

  later(settings.probeEveryMs);
  return {
    setPeers: (peers) => {
      const wanted = new Map(peers.map((peer) => [peer.nodeId, peer]));
      for (const [nodeId, { line }] of [...probed]) {
        const now = wanted.get(nodeId);
        if (now === undefined || !samePeer(now, line.peer)) forget(nodeId);
      }
      for (const peer of peers) {
        if (probed.has(peer.nodeId) || peer.address === '' || peer.livenessPort === 0) continue;
        const line = openLine(peer, {
          message: (bytes) => {
            receive(peer.nodeId, bytes);
          },
          refused: () => {
            const one = probed.get(peer.nodeId);
            if (one?.line === line) take(one, { kind: 'refused', atMs: nowMs() });
          },
        });
        probed.set(peer.nodeId, { line, record: newPeerRecord, open: [], nextProbeAtMs: 0 });
      }
    },
    setUsed: (nodeIds) => {
      const before = new Set(watchedNow());
      used = nodeIds;
      // What is probed anew has been silent because nobody asked it.
      for (const one of watchedNow()) if (!before.has(one)) one.record = newPeerRecord;
    },
    ask: (about, nonce) => {
      const one = probed.get(about);
      if (one !== undefined) probe(one, nonce, true);
    },
    close: () => {
      clearTimeout(timer);
      clearImmediate(reading);
      for (const nodeId of [...probed.keys()]) forget(nodeId);
    },
  };
}

const samePeer = (a: LivenessPeer, b: LivenessPeer): boolean =>
  a.address === b.address && a.livenessPort === b.livenessPort && equalBytes(a.key, b.key);
