/** The history and `inspect`: their shapes in the domain's terms, and their codecs. */
import type { ClusterEvent, RecoveryMoments } from '../domain/event.ts';
import * as w from './wire.ts';
import type { Codec, Received, Sent } from './wire.ts';

export interface ListEventsRequest {
  /** A stack, service, slot, task or node, as a person writes it. */
  readonly subject?: string;
  /** Only what is no older; ms before now. */
  readonly sinceAgoMs?: number;
  /** Only what is older; ms before now. */
  readonly untilAgoMs?: number;
  /** At the most so many of the history, the newest. */
  readonly last?: number;
  readonly follow: boolean;
  /** Only what comes after this event. */
  readonly afterSequence?: number;
}
export interface ListEventsReply {
  readonly events: readonly ClusterEvent[];
  /** No event up to this one follows. */
  readonly through?: number;
}
export interface InspectRequest {
  readonly name: string;
}
export interface Inspected {
  /** `stack`, `service`, `task` or `node`. */
  readonly kind: string;
  readonly json: string;
}
/** Everything of that name: a stack and a node may share one. */
export interface InspectReply {
  readonly found: readonly Inspected[];
}

const recoveryToWire = (value: RecoveryMoments): Sent<'RecoveryMoments'> => ({
  suspected: w.optionalUint32(value.suspected, 'RecoveryMoments.suspected'),
  confirmed: w.uint32(value.confirmed, 'RecoveryMoments.confirmed'),
  planned: w.uint32(value.planned, 'RecoveryMoments.planned'),
  committed: w.uint32(value.committed, 'RecoveryMoments.committed'),
  received: w.uint32(value.received, 'RecoveryMoments.received'),
  created: w.uint32(value.created, 'RecoveryMoments.created'),
  running: w.uint32(value.running, 'RecoveryMoments.running'),
  inForce: w.uint32(value.inForce, 'RecoveryMoments.in_force'),
});

const recoveryFromWire = (wire: Received<'RecoveryMoments'>): RecoveryMoments => ({
  ...(wire.suspected !== null && { suspected: wire.suspected }),
  confirmed: wire.confirmed,
  planned: wire.planned,
  committed: wire.committed,
  received: wire.received,
  created: wire.created,
  running: wire.running,
  inForce: wire.inForce,
});

export const eventToWire = (value: ClusterEvent): Sent<'Event'> => ({
  sequence: w.long(value.sequence, 'Event.sequence'),
  revision: w.long(value.revision, 'Event.revision'),
  atMs: w.long(value.atMs, 'Event.at_ms'),
  kind: value.kind,
  stack: value.stack ?? null,
  service: value.service ?? null,
  slot: w.optionalUint32(value.slot, 'Event.slot'),
  taskId: value.taskId ?? null,
  node: value.node ?? null,
  by: value.by ?? null,
  text: value.message,
  cause: value.cause ?? null,
  recovery: value.recovery === undefined ? null : recoveryToWire(value.recovery),
});

export const eventFromWire = (wire: Received<'Event'>): ClusterEvent =>
  w.fields<ClusterEvent>({
    sequence: w.fromLong(wire.sequence, 'Event.sequence'),
    revision: w.fromLong(wire.revision, 'Event.revision'),
    atMs: w.fromLong(wire.atMs, 'Event.at_ms'),
    kind: w.name(wire.kind, 'Event.kind'),
    stack: wire.stack ?? undefined,
    service: wire.service ?? undefined,
    slot: wire.slot ?? undefined,
    taskId: wire.taskId ?? undefined,
    node: wire.node ?? undefined,
    by: wire.by ?? undefined,
    message: wire.text,
    cause: wire.cause ?? undefined,
    recovery: w.optional(wire.recovery, recoveryFromWire),
  });

export const listEventsRequest: Codec<ListEventsRequest> = w.messageCodec(
  'ListEventsRequest',
  (value) => ({
    subject: value.subject ?? null,
    sinceAgoMs: w.optionalLong(value.sinceAgoMs, 'ListEventsRequest.since_ago_ms'),
    untilAgoMs: w.optionalLong(value.untilAgoMs, 'ListEventsRequest.until_ago_ms'),
    last: w.optionalUint32(value.last, 'ListEventsRequest.last'),
    follow: value.follow,
    afterSequence: w.optionalLong(value.afterSequence, 'ListEventsRequest.after_sequence'),
  }),
  (wire) =>
    w.fields<ListEventsRequest>({
      subject: wire.subject ?? undefined,
      sinceAgoMs: w.fromOptionalLong(wire.sinceAgoMs, 'ListEventsRequest.since_ago_ms'),
      untilAgoMs: w.fromOptionalLong(wire.untilAgoMs, 'ListEventsRequest.until_ago_ms'),
      last: wire.last ?? undefined,
      follow: wire.follow,
      afterSequence: w.fromOptionalLong(wire.afterSequence, 'ListEventsRequest.after_sequence'),
    }),
);

export const listEventsReply: Codec<ListEventsReply> = w.messageCodec(
  'ListEventsReply',
  ({ events, through }) => ({
    events: events.map(eventToWire),
    through: w.optionalLong(through, 'ListEventsReply.through'),
  }),
  (wire) =>
    w.fields<ListEventsReply>({
      events: wire.events.map(eventFromWire),
      through: w.fromOptionalLong(wire.through, 'ListEventsReply.through'),
    }),
);

export const inspectRequest: Codec<InspectRequest> = w.messageCodec(
  'InspectRequest',
  ({ name }) => ({ name }),
  ({ name }) => ({ name }),
);

export const inspectReply: Codec<InspectReply> = w.messageCodec(
  'InspectReply',
  ({ found }) => ({ found: found.map(({ kind, json }) => ({ kind, json })) }),
  ({ found }) => ({ found: found.map(({ kind, json }) => ({ kind, json })) }),
);
