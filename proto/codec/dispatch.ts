/** Messages of the Join and Dispatch services: their shapes in the domain's terms, and their codecs. */
import { unreachable } from '../base/assert.ts';
import { FrotaError } from '../base/errors.ts';
import type { FetchedContent } from '../domain/content.ts';
import type { NodeFacts } from '../domain/node.ts';
import { unitChangeFromWire, unitChangeToWire } from './assignment.ts';
import type { UnitChange } from './assignment.ts';
import { fetchedContentFromWire, fetchedContentToWire } from './content.ts';
import { nodeFactsFromWire, nodeFactsToWire } from './node.ts';
import { reportFromWire, reportToWire } from './status-report.ts';
import type { StatusReport } from './status-report.ts';
import { openStreamFromWire, openStreamToWire } from './streams.ts';
import type { OpenStream } from './streams.ts';
import * as w from './wire.ts';
import type { Codec, Received, Sent } from './wire.ts';

export interface JoinRequest {
  readonly token: string;
  readonly nodeName: string;
  /** PKCS #10, DER. */
  readonly certificateRequest: Uint8Array;
}
export interface JoinReply {
  readonly nodeId: string;
  /** PEM. */
  readonly certificate: string;
  /** PEM. */
  readonly caCertificate: string;
  /** host:port */
  readonly controlAddress: string;
}
export interface RenewCertificateRequest {
  /** PKCS #10, DER. */
  readonly certificateRequest: Uint8Array;
}
/** Both PEM. */
export interface RenewCertificateReply {
  readonly certificate: string;
  readonly caCertificate: string;
}
export interface FetchContentsRequest {
  readonly ids: readonly string[];
}
/** As many as fit into one message, at least one; what is missing is asked for again. */
export interface FetchContentsReply {
  readonly contents: readonly FetchedContent[];
}
export interface HeldUnit {
  readonly key: string;
  readonly revision: string;
}

export interface AppliedUnit extends HeldUnit {
  /** How many units had come over this stream when this one came, itself included; 0: it came before this stream. */
  readonly number: number;
}
/** Agent → controller. `hello` is the first message and only the first. */
export type AgentMessage =
  | {
      readonly kind: 'hello';
      readonly facts: NodeFacts;
      /** 16 random bytes, new at each start of the agent. */
      readonly bootId: Uint8Array;
      readonly held: readonly HeldUnit[];
    }
  | { readonly kind: 'statuses'; readonly sequence: number; readonly reports: readonly StatusReport[] }
  /** Service units that this node's names, VIPs and ports follow from now on. */
  | { readonly kind: 'applied'; readonly units: readonly AppliedUnit[] }
  /** The answer to a ping, by its number. */
  | { readonly kind: 'pong'; readonly number: number }
  /** Asks for its fenced tasks' leases. */
  | { readonly kind: 'lease-request'; readonly number: number };

export interface Welcome {
  readonly kind: 'welcome';
  readonly epoch: number;
  readonly nodeId: string;
  readonly nodeName: string;
  readonly subnet: string;
  readonly livenessKey: Uint8Array;
  /** UDP, at the address of this connection. */
  readonly livenessPort: number;
  readonly heartbeatIntervalMs: number;
  /** Hosts and CIDRs that may be asked over plain HTTP. */
  readonly insecureRegistries: readonly string[];
}

/** Another node that this one may probe. */
export interface LivenessPeer {
  readonly nodeId: string;
  readonly address: string;
  readonly livenessPort: number;
  /** Of the datagrams between the two when this node asks. */
  readonly key: Uint8Array;
}

/** How often a node says that it lives, and whom it may probe; after the welcome, and when it changes. */
export interface LivenessPlan {
  readonly kind: 'liveness';
  readonly heartbeatIntervalMs: number;
  readonly peers: readonly LivenessPeer[];
}

/** The answer to a request for leases: the tasks named may run for their lease, from when the request was sent. */
export interface LeaseGrant {
  readonly kind: 'lease';
  readonly number: number;
  readonly taskIds: readonly string[];
}

/** Controller → agent. `welcome` is the first message and only the first; `synced`: all that differed has been sent. */
export type ControllerMessage =
  | Welcome
  | UnitChange
  /** `unwanted`: of the local attempts in the batch, those that the node is to stop and remove. */
  | { readonly kind: 'ack'; readonly sequence: number; readonly unwanted: readonly string[] }
  | { readonly kind: 'synced' }
  | OpenStream
  | LivenessPlan
  /** To a node whose datagrams are not heard: answered with a pong. */
  | { readonly kind: 'ping'; readonly number: number }
  | LeaseGrant;

export const joinRequest: Codec<JoinRequest> = w.messageCodec(
  'JoinRequest',
  ({ token, nodeName, certificateRequest }) => ({ token, nodeName, certificateRequest }),
  (wire) => ({
    token: wire.token,
    nodeName: wire.nodeName,
    certificateRequest: w.ownBytes(wire.certificateRequest),
  }),
);

export const joinReply: Codec<JoinReply> = w.messageCodec(
  'JoinReply',
  ({ nodeId, certificate, caCertificate, controlAddress }) => ({ nodeId, certificate, caCertificate, controlAddress }),
  ({ nodeId, certificate, caCertificate, controlAddress }) => ({ nodeId, certificate, caCertificate, controlAddress }),
);

export const renewCertificateRequest: Codec<RenewCertificateRequest> = w.messageCodec(
  'RenewCertificateRequest',
  ({ certificateRequest }) => ({ certificateRequest }),
  (wire) => ({ certificateRequest: w.ownBytes(wire.certificateRequest) }),
);

export const renewCertificateReply: Codec<RenewCertificateReply> = w.messageCodec(
  'RenewCertificateReply',
  ({ certificate, caCertificate }) => ({ certificate, caCertificate }),
  ({ certificate, caCertificate }) => ({ certificate, caCertificate }),
);

export const fetchContentsRequest: Codec<FetchContentsRequest> = w.messageCodec(
  'FetchContentsRequest',
  ({ ids }) => ({ ids: [...ids] }),
  ({ ids }) => ({ ids }),
);

export const fetchContentsReply: Codec<FetchContentsReply> = w.messageCodec(
  'FetchContentsReply',
  ({ contents }) => ({ contents: contents.map(fetchedContentToWire) }),
  ({ contents }) => ({ contents: contents.map(fetchedContentFromWire) }),
);

const copyUnits = (units: readonly HeldUnit[]): HeldUnit[] => units.map(({ key, revision }) => ({ key, revision }));

const appliedToWire = ({ key, revision, number }: AppliedUnit) => ({
  ...{ key, revision },
  number: w.long(number, 'AppliedUnit.number'),
});

function agentMessageToWire(message: AgentMessage): Sent<'AgentMessage'> {
  const none = { hello: null, statuses: null, applied: null, pong: null, lease: null };
  switch (message.kind) {
    case 'hello': {
      const { bootId, held } = message;
      return { ...none, hello: { facts: nodeFactsToWire(message.facts), bootId, held: copyUnits(held) } };
    }
    case 'statuses': {
      const sequence = w.long(message.sequence, 'StatusBatch.sequence');
      return { ...none, statuses: { sequence, reports: message.reports.map(reportToWire) } };
    }
    case 'applied':
      return { ...none, applied: { units: message.units.map(appliedToWire) } };
    case 'pong':
      return { ...none, pong: { number: w.long(message.number, 'Pong.number') } };
    case 'lease-request':
      return { ...none, lease: { number: w.long(message.number, 'LeaseRequest.number') } };
    default:
      return unreachable(message);
  }
}

function agentMessageFromWire(wire: Received<'AgentMessage'>): AgentMessage {
  const { hello, statuses, applied, pong, lease } = wire;
  if (hello !== null) {
    return {
      kind: 'hello',
      facts: nodeFactsFromWire(w.required(hello.facts, 'AgentHello.facts')),
      bootId: w.ownBytes(hello.bootId),
      held: copyUnits(hello.held),
    };
  }
  if (statuses !== null) {
    const sequence = w.fromLong(statuses.sequence, 'StatusBatch.sequence');
    return { kind: 'statuses', sequence, reports: statuses.reports.map(reportFromWire) };
  }
  if (applied !== null) {
    const units = applied.units.map(({ key, revision, number }) => ({
      ...{ key, revision },
      number: w.fromLong(number, 'AppliedUnit.number'),
    }));
    return { kind: 'applied', units };
  }
  if (pong !== null) return { kind: 'pong', number: w.fromLong(pong.number, 'Pong.number') };
  if (lease !== null) return { kind: 'lease-request', number: w.fromLong(lease.number, 'LeaseRequest.number') };
  throw new FrotaError('corrupt', 'AgentMessage.message is missing or of a later version');
}

export const agentMessage: Codec<AgentMessage> = w.messageCodec(
  'AgentMessage',
  agentMessageToWire,
  agentMessageFromWire,
);

const welcomeToWire = (value: Welcome): Sent<'Welcome'> => ({
  epoch: w.long(value.epoch, 'Welcome.epoch'),
  nodeId: value.nodeId,
  nodeName: value.nodeName,
  subnet: value.subnet,
  livenessKey: value.livenessKey,
  livenessPort: w.uint32(value.livenessPort, 'Welcome.liveness_port'),
  heartbeatIntervalMs: w.uint32(value.heartbeatIntervalMs, 'Welcome.heartbeat_interval_ms'),
  insecureRegistries: [...value.insecureRegistries],
});

const welcomeFromWire = (wire: Received<'Welcome'>): Welcome => ({
  kind: 'welcome',
  epoch: w.fromLong(wire.epoch, 'Welcome.epoch'),
  nodeId: w.name(wire.nodeId, 'Welcome.node_id'),
  nodeName: w.name(wire.nodeName, 'Welcome.node_name'),
  subnet: w.name(wire.subnet, 'Welcome.subnet'),
  livenessKey: w.ownBytes(wire.livenessKey),
  livenessPort: wire.livenessPort,
  heartbeatIntervalMs: wire.heartbeatIntervalMs,
  insecureRegistries: wire.insecureRegistries,
});

const livenessPlanToWire = ({ heartbeatIntervalMs, peers }: LivenessPlan): Sent<'LivenessPlan'> => ({
  heartbeatIntervalMs: w.uint32(heartbeatIntervalMs, 'LivenessPlan.heartbeat_interval_ms'),
  peers: peers.map(({ nodeId, address, livenessPort, key }) => ({
    nodeId,
    address,
    livenessPort: w.uint32(livenessPort, 'LivenessPeer.liveness_port'),
    key,
  })),
});

const livenessPlanFromWire = ({ heartbeatIntervalMs, peers }: Received<'LivenessPlan'>): LivenessPlan => ({
  kind: 'liveness',
  heartbeatIntervalMs,
  peers: peers.map(({ nodeId, address, livenessPort, key }) => ({
    nodeId: w.name(nodeId, 'LivenessPeer.node_id'),
    address,
    livenessPort,
    key: w.ownBytes(key),
  })),
});

function controllerMessageToWire(message: ControllerMessage): Sent<'ControllerMessage'> {
  const none = {
    ...{ welcome: null, change: null, ack: null, synced: null },
    ...{ open: null, liveness: null, ping: null, lease: null },
  };
  switch (message.kind) {
    case 'welcome':
      return { ...none, welcome: welcomeToWire(message) };
    case 'unit':
    case 'removed':
      return { ...none, change: unitChangeToWire(message) };
    case 'ack':
      return {
        ...none,
        ack: { sequence: w.long(message.sequence, 'StatusAck.sequence'), unwanted: [...message.unwanted] },
      };
    case 'synced':
      return { ...none, synced: {} };
    case 'open':
      return { ...none, open: openStreamToWire(message) };
    case 'liveness':
      return { ...none, liveness: livenessPlanToWire(message) };
    case 'ping':
      return { ...none, ping: { number: w.long(message.number, 'Ping.number') } };
    case 'lease':
      return {
        ...none,
        lease: { number: w.long(message.number, 'LeaseGrant.number'), taskIds: [...message.taskIds] },
      };
    default:
      return unreachable(message);
  }
}

function controllerMessageFromWire(wire: Received<'ControllerMessage'>): ControllerMessage {
  if (wire.welcome !== null) return welcomeFromWire(wire.welcome);
  if (wire.change !== null) return unitChangeFromWire(wire.change);
  if (wire.ack !== null) {
    const { sequence, unwanted } = wire.ack;
    return { kind: 'ack', sequence: w.fromLong(sequence, 'StatusAck.sequence'), unwanted };
  }
  if (wire.synced !== null) return { kind: 'synced' };
  if (wire.open !== null) return openStreamFromWire(wire.open);
  if (wire.liveness !== null) return livenessPlanFromWire(wire.liveness);
  if (wire.ping !== null) return { kind: 'ping', number: w.fromLong(wire.ping.number, 'Ping.number') };
  if (wire.lease !== null) {
    const { number, taskIds } = wire.lease;
    return { kind: 'lease', number: w.fromLong(number, 'LeaseGrant.number'), taskIds };
  }
  throw new FrotaError('corrupt', 'ControllerMessage.message is missing or of a later version');
}

export const controllerMessage: Codec<ControllerMessage> = w.messageCodec(
  'ControllerMessage',
  controllerMessageToWire,
  controllerMessageFromWire,
);
