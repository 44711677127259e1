/** Requests and replies of the Control service: their shapes in the domain's terms, and their codecs. */
import type { Content } from '../domain/content.ts';
import type { StackSpec } from '../domain/service.ts';
import type { FailedAttempt, NodeView, ServiceView, Stuck, TaskView } from '../domain/views.ts';
import { contentFromWire, contentToWire } from './content.ts';
import { stackSpecFromWire, stackSpecToWire } from './service.ts';
import {
  failedAttemptFromWire,
  failedAttemptToWire,
  nodeViewFromWire,
  nodeViewToWire,
  serviceViewFromWire,
  serviceViewToWire,
} from './views.ts';
import { stuckFromWire, stuckToWire, taskViewFromWire, taskViewToWire } from './views.ts';
import * as w from './wire.ts';
import type { Codec } from './wire.ts';

/** A request that carries nothing. */
export type Nothing = Readonly<Record<string, never>>;

/** `contents`: configs and secrets that the spec's templates name, those whose bytes may be new to the cluster. */
export interface ApplyRequest {
  readonly spec: StackSpec;
  readonly contents: readonly Content[];
}
/** Names of services; `changed` is false when all was declared so already. */
export interface ApplyReply {
  readonly version: number;
  readonly changed: boolean;
  readonly created: readonly string[];
  readonly updated: readonly string[];
  readonly removed: readonly string[];
  readonly unchanged: readonly string[];
}
/** `service` as a person writes it: `stack/service`, `stack_service`, or `service` where unique. */
export interface ServiceScale {
  readonly service: string;
  readonly replicas: number;
}
export interface ScaleRequest {
  readonly scales: readonly ServiceScale[];
}
export interface ScaledService {
  readonly stack: string;
  readonly service: string;
  readonly before: number;
  readonly after: number;
}
export interface ScaleReply {
  readonly services: readonly ScaledService[];
}
export interface RemoveStackRequest {
  readonly stack: string;
}
export interface RemoveStackReply {
  readonly services: readonly string[];
}
export interface ListServicesRequest {
  readonly stack?: string;
}
export interface ListServicesReply {
  readonly services: readonly ServiceView[];
}
/** `service` as written, or a stack's name; `all`: ended tasks too. */
export interface ListTasksRequest {
  readonly service?: string;
  readonly all: boolean;
}
export interface ListTasksReply {
  readonly tasks: readonly TaskView[];
}
export interface ListNodesReply {
  readonly nodes: readonly NodeView[];
}
export interface WatchStackRequest {
  readonly stack: string;
}
/**
 * `declared`: false once the stack is removed. `converged`: what is declared runs and nothing else does. `stuck`: why it
 * can't come to that unless somebody does something; empty while there is hope. `failed`: of each slot that is not as declared
 * the latest attempt that failed, if one has. `settling`: services with tasks that run, but not for long enough yet to rely on it.
 */
export interface StackProgress {
  readonly declared: boolean;
  readonly version: number;
  readonly services: readonly ServiceView[];
  readonly tasks: readonly TaskView[];
  readonly converged: boolean;
  readonly stuck: readonly Stuck[];
  readonly failed: readonly FailedAttempt[];
  readonly settling: readonly string[];
}
export interface CreateJoinTokenRequest {
  readonly ttlSeconds: number;
}
export interface CreateJoinTokenReply {
  readonly token: string;
  /** host:port */
  readonly joinAddress: string;
  readonly expiresAtMs: number;
}
export interface GetVersionReply {
  readonly version: string;
  readonly clusterId: string;
}

export const applyRequest: Codec<ApplyRequest> = w.messageCodec(
  'ApplyRequest',
  ({ spec, contents }) => ({ spec: stackSpecToWire(spec), contents: contents.map(contentToWire) }),
  (wire) => ({
    spec: stackSpecFromWire(w.required(wire.spec, 'ApplyRequest.spec')),
    contents: wire.contents.map(contentFromWire),
  }),
);

export const applyReplyToWire = (value: ApplyReply): w.Sent<'ApplyReply'> => ({
  version: w.uint32(value.version, 'ApplyReply.version'),
  changed: value.changed,
  created: [...value.created],
  updated: [...value.updated],
  removed: [...value.removed],
  unchanged: [...value.unchanged],
});

export const applyReplyFromWire = (wire: w.Received<'ApplyReply'>): ApplyReply => {
  const { version, changed, created, updated, removed, unchanged } = wire;
  return { version, changed, created, updated, removed, unchanged };
};

export const applyReply: Codec<ApplyReply> = w.messageCodec('ApplyReply', applyReplyToWire, applyReplyFromWire);

export const scaleRequest: Codec<ScaleRequest> = w.messageCodec(
  'ScaleRequest',
  ({ scales }) => ({
    scales: scales.map(({ service, replicas }) => ({ service, replicas: w.uint32(replicas, 'ServiceScale.replicas') })),
  }),
  (wire) => ({ scales: wire.scales.map(({ service, replicas }) => ({ service, replicas })) }),
);

export const scaleReply: Codec<ScaleReply> = w.messageCodec(
  'ScaleReply',
  ({ services }) => ({
    services: services.map(({ stack, service, before, after }) => ({
      stack,
      service,
      before: w.uint32(before, 'ScaledService.before'),
      after: w.uint32(after, 'ScaledService.after'),
    })),
  }),
  (wire) => ({
    services: wire.services.map(({ stack, service, before, after }) => ({ stack, service, before, after })),
  }),
);

export const removeStackRequest: Codec<RemoveStackRequest> = w.messageCodec(
  'RemoveStackRequest',
  ({ stack }) => ({ stack }),
  ({ stack }) => ({ stack }),
);

export const removeStackReply: Codec<RemoveStackReply> = w.messageCodec(
  'RemoveStackReply',
  ({ services }) => ({ services: [...services] }),
  ({ services }) => ({ services }),
);

export const listServicesRequest: Codec<ListServicesRequest> = w.messageCodec(
  'ListServicesRequest',
  (value) => ({ stack: value.stack ?? null }),
  (wire) => w.fields<ListServicesRequest>({ stack: wire.stack ?? undefined }),
);

export const listServicesReply: Codec<ListServicesReply> = w.messageCodec(
  'ListServicesReply',
  ({ services }) => ({ services: services.map(serviceViewToWire) }),
  ({ services }) => ({ services: services.map(serviceViewFromWire) }),
);

export const listTasksRequest: Codec<ListTasksRequest> = w.messageCodec(
  'ListTasksRequest',
  (value) => ({ service: value.service ?? null, all: value.all }),
  (wire) => w.fields<ListTasksRequest>({ service: wire.service ?? undefined, all: wire.all }),
);

export const listTasksReply: Codec<ListTasksReply> = w.messageCodec(
  'ListTasksReply',
  ({ tasks }) => ({ tasks: tasks.map(taskViewToWire) }),
  ({ tasks }) => ({ tasks: tasks.map(taskViewFromWire) }),
);

export const listNodesRequest: Codec<Nothing> = w.messageCodec(
  'ListNodesRequest',
  () => ({}),
  () => ({}),
);

export const listNodesReply: Codec<ListNodesReply> = w.messageCodec(
  'ListNodesReply',
  ({ nodes }) => ({ nodes: nodes.map(nodeViewToWire) }),
  ({ nodes }) => ({ nodes: nodes.map(nodeViewFromWire) }),
);

export const watchStackRequest: Codec<WatchStackRequest> = w.messageCodec(
  'WatchStackRequest',
  ({ stack }) => ({ stack }),
  ({ stack }) => ({ stack }),
);

export const stackProgress: Codec<StackProgress> = w.messageCodec(
  'StackProgress',
  (value) => ({
    declared: value.declared,
    version: w.uint32(value.version, 'StackProgress.version'),
    services: value.services.map(serviceViewToWire),
    tasks: value.tasks.map(taskViewToWire),
    converged: value.converged,
    stuck: value.stuck.map(stuckToWire),
    failed: value.failed.map(failedAttemptToWire),
    settling: [...value.settling],
  }),
  (wire) => ({
    declared: wire.declared,
    version: wire.version,
    services: wire.services.map(serviceViewFromWire),
    tasks: wire.tasks.map(taskViewFromWire),
    converged: wire.converged,
    stuck: wire.stuck.map(stuckFromWire),
    failed: wire.failed.map(failedAttemptFromWire),
    settling: wire.settling,
  }),
);

export const createJoinTokenRequest: Codec<CreateJoinTokenRequest> = w.messageCodec(
  'CreateJoinTokenRequest',
  ({ ttlSeconds }) => ({ ttlSeconds: w.uint32(ttlSeconds, 'CreateJoinTokenRequest.ttl_seconds') }),
  ({ ttlSeconds }) => ({ ttlSeconds }),
);

export const createJoinTokenReply: Codec<CreateJoinTokenReply> = w.messageCodec(
  'CreateJoinTokenReply',
  (value) => ({
    token: value.token,
    joinAddress: value.joinAddress,
    expiresAtMs: w.long(value.expiresAtMs, 'CreateJoinTokenReply.expires_at_ms'),
  }),
  (wire) => ({
    token: wire.token,
    joinAddress: wire.joinAddress,
    expiresAtMs: w.fromLong(wire.expiresAtMs, 'CreateJoinTokenReply.expires_at_ms'),
  }),
);

export const getVersionRequest: Codec<Nothing> = w.messageCodec(
  'GetVersionRequest',
  () => ({}),
  () => ({}),
);

export const getVersionReply: Codec<GetVersionReply> = w.messageCodec(
  'GetVersionReply',
  ({ version, clusterId }) => ({ version, clusterId }),
  ({ version, clusterId }) => ({ version, clusterId }),
);
