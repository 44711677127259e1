/**
 * The services, typed: paths and stream flags are read from the generated code, so that the .proto files stay the one
 * place that says them; requests and replies are the domain's shapes, so that no other room sees a wire type.
 */
import * as nodes from '../codec/control-nodes.ts';
import * as control from '../codec/control.ts';
import * as dispatch from '../codec/dispatch.ts';
import * as drills from '../codec/drills.ts';
import * as rollouts from '../codec/rollouts.ts';
import * as events from '../codec/events.ts';
import * as streams from '../codec/streams.ts';
import * as registry from '../codec/registry.ts';
import type { Codec } from '../codec/wire.ts';
import { frota } from '../gen/frota.js';

export type MethodKind = 'unary' | 'serverStream' | 'duplex';

export interface Method<Kind extends MethodKind, Request, Reply> {
  readonly kind: Kind;
  /** `/frota.v1.Control/Apply` */
  readonly path: string;
  readonly request: Codec<Request>;
  readonly reply: Codec<Reply>;
}

export type AnyMethod = Method<MethodKind, unknown, unknown>;
export type Service = Readonly<Record<string, AnyMethod>>;

/** What protobufjs puts on a service's methods. */
interface GeneratedMethod {
  readonly path: string;
  readonly requestStream: true | undefined;
  readonly responseStream: true | undefined;
}

type MethodNames<Prototype> = {
  [N in keyof Prototype]: Prototype[N] extends GeneratedMethod ? N : never;
}[keyof Prototype];

type KindOf<M> = M extends { readonly responseStream: true }
  ? M extends { readonly requestStream: true }
    ? 'duplex'
    : 'serverStream'
  : 'unary';

type CodecsOf<Prototype> = {
  readonly [N in MethodNames<Prototype>]: { readonly request: Codec<unknown>; readonly reply: Codec<unknown> };
};

type ServiceOf<Prototype, Codecs> = {
  readonly [N in keyof Codecs & keyof Prototype]: Codecs[N] extends {
    readonly request: Codec<infer Request>;
    readonly reply: Codec<infer Reply>;
  }
    ? Method<KindOf<Prototype[N]>, Request, Reply>
    : never;
};

/** A method of the .proto that has no codecs here does not compile, nor one that the .proto does not have. */
function serviceOf<Prototype extends object, Codecs extends CodecsOf<Prototype>>(
  prototype: Prototype,
  codecs: Codecs & Record<Exclude<keyof Codecs, MethodNames<Prototype>>, never>,
): ServiceOf<Prototype, Codecs> {
  const methods = Object.entries<Pick<AnyMethod, 'request' | 'reply'>>(codecs).map(([name, { request, reply }]) => {
    const generated = (prototype as Record<string, GeneratedMethod>)[name] as GeneratedMethod;
    return [name, { kind: kindOf(generated), path: generated.path, request, reply }] as const;
  });
  return Object.fromEntries(methods) as ServiceOf<Prototype, Codecs>;
}

function kindOf(method: GeneratedMethod): MethodKind {
  if (method.responseStream !== true) return 'unary';
  return method.requestStream === true ? 'duplex' : 'serverStream';
}

/** People → controller, on the control port. */
export const controlService = serviceOf(frota.v1.Control.prototype, {
  apply: { request: control.applyRequest, reply: control.applyReply },
  scale: { request: control.scaleRequest, reply: control.scaleReply },
  removeStack: { request: control.removeStackRequest, reply: control.removeStackReply },
  listServices: { request: control.listServicesRequest, reply: control.listServicesReply },
  listTasks: { request: control.listTasksRequest, reply: control.listTasksReply },
  listNodes: { request: control.listNodesRequest, reply: control.listNodesReply },
  updateNode: { request: nodes.updateNodeRequest, reply: nodes.updateNodeReply },
  watchStack: { request: control.watchStackRequest, reply: control.stackProgress },
  rolloutStatus: { request: rollouts.rolloutStatusRequest, reply: rollouts.rolloutStatusReply },
  rolloutHistory: { request: rollouts.rolloutHistoryRequest, reply: rollouts.rolloutHistoryReply },
  rolloutUndo: { request: rollouts.rolloutUndoRequest, reply: rollouts.rolloutUndoReply },
  rolloutRestart: { request: rollouts.rolloutRestartRequest, reply: rollouts.rolloutRestartReply },
  registryLogin: { request: registry.registryLoginRequest, reply: registry.registryLoginReply },
  registryLogout: { request: registry.registryLogoutRequest, reply: registry.registryLogoutReply },
  listRegistries: { request: registry.listRegistriesRequest, reply: registry.listRegistriesReply },
  createJoinToken: { request: control.createJoinTokenRequest, reply: control.createJoinTokenReply },
  getVersion: { request: control.getVersionRequest, reply: control.getVersionReply },
  listEvents: { request: events.listEventsRequest, reply: events.listEventsReply },
  inspect: { request: events.inspectRequest, reply: events.inspectReply },
  logs: { request: streams.logsQuery, reply: streams.logsReply },
  exec: { request: streams.execUp, reply: streams.execOutput },
  runDrill: { request: drills.runDrillRequest, reply: drills.drillProgress },
  followDrill: { request: drills.followDrillRequest, reply: drills.drillProgress },
  listDrills: { request: drills.listDrillsRequest, reply: drills.listDrillsReply },
  stopDrill: { request: drills.stopDrillRequest, reply: drills.stopDrillReply },
});

/** A new machine → controller, on the join port. */
export const joinService = serviceOf(frota.v1.Join.prototype, {
  join: { request: dispatch.joinRequest, reply: dispatch.joinReply },
});

/** Agent ↔ controller, on the control port. */
export const dispatchService = serviceOf(frota.v1.Dispatch.prototype, {
  session: { request: dispatch.agentMessage, reply: dispatch.controllerMessage },
  renewCertificate: { request: dispatch.renewCertificateRequest, reply: dispatch.renewCertificateReply },
  getRegistryCredential: {
    request: registry.getRegistryCredentialRequest,
    reply: registry.getRegistryCredentialReply,
  },
  fetchContents: { request: dispatch.fetchContentsRequest, reply: dispatch.fetchContentsReply },
  stream: { request: streams.streamUp, reply: streams.streamDown },
});
