/** Requests and replies of the Control service about drills, and the stored record. */
import { unreachable } from '../base/assert.ts';
import { FrotaError } from '../base/errors.ts';
import type { Drill, DrillPlan, DrillRefusal, DrillRequest } from '../domain/drill.ts';
import { drillKindEnum, probeKindEnum } from './enums.ts';
import * as w from './wire.ts';
import type { Codec, Received, Sent } from './wire.ts';

export interface RunDrillRequest extends DrillRequest {
  /** Only say what would be done. */
  readonly dryRun: boolean;
}
/** `refused` and `planned` are the only message of their stream. */
export type DrillProgress =
  | { readonly kind: 'refused'; readonly refusals: readonly DrillRefusal[] }
  | { readonly kind: 'planned'; readonly plan: DrillPlan }
  | { readonly kind: 'drill'; readonly drill: Drill };
export interface FollowDrillRequest {
  readonly id: string;
  /** The drill ends when the caller leaves. */
  readonly owner: boolean;
}
export interface ListDrillsRequest {
  readonly id?: string;
}
export interface ListDrillsReply {
  readonly drills: readonly Drill[];
}
export interface StopDrillRequest {
  readonly id: string;
}
export interface StopDrillReply {
  readonly drill: Drill;
}

const drillToWire = (drill: Drill): Sent<'Drill'> => ({ id: drill.id, json: JSON.stringify(drill) });

function drillFromWire({ id, json }: Received<'Drill'>): Drill {
  const drill = parsed(json, `Drill ${w.name(id, 'Drill.id')}`) as Drill;
  if (drill.id !== id) throw new FrotaError('corrupt', `Drill ${id} holds another one`);
  return drill;
}

function parsed(json: string, what: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new FrotaError('corrupt', `${what} is not JSON`, { cause });
  }
}

/** The stored record: it is written and read by one and the same controller version, or shown. */
export const drillRecord: Codec<Drill> = w.messageCodec('Drill', drillToWire, drillFromWire);

export const runDrillRequest: Codec<RunDrillRequest> = w.messageCodec(
  'RunDrillRequest',
  (request) => ({
    kind: drillKindEnum.toWire(request.kind),
    node: request.node ?? null,
    random: request.random,
    service: request.service ?? null,
    slo: request.slo,
    forMs: w.uint32(request.forMs, 'RunDrillRequest.for_ms'),
    perSecond: w.uint32(request.perSecond, 'RunDrillRequest.per_second'),
    probe: probeKindEnum.toWire(request.probe),
    path: request.path,
    force: request.force,
    dryRun: request.dryRun,
  }),
  (wire) =>
    w.fields<RunDrillRequest>({
      kind: drillKindEnum.fromWire(wire.kind, 'RunDrillRequest.kind'),
      node: wire.node ?? undefined,
      random: wire.random,
      service: wire.service ?? undefined,
      slo: wire.slo,
      forMs: wire.forMs,
      perSecond: wire.perSecond,
      probe: probeKindEnum.fromWire(wire.probe, 'RunDrillRequest.probe'),
      path: wire.path,
      force: wire.force,
      dryRun: wire.dryRun,
    }),
);

const refusalKinds: Readonly<Record<DrillRefusal['kind'], true>> = {
  busy: true,
  unhealthy: true,
  unknown: true,
  'nothing-spared': true,
  'nothing-to-hurt': true,
  'no-probe': true,
  'does-not-fit': true,
  'last-replica': true,
  fenced: true,
};
const isRefusalKind = (kind: string): kind is DrillRefusal['kind'] => Object.hasOwn(refusalKinds, kind);

function progressToWire(progress: DrillProgress): Sent<'DrillProgress'> {
  const none = { refused: null, planned: null, drill: null };
  switch (progress.kind) {
    case 'refused':
      return {
        ...none,
        refused: { refusals: progress.refusals.map(({ kind, message }) => ({ kind, text: message })) },
      };
    case 'planned':
      return { ...none, planned: { json: JSON.stringify(progress.plan) } };
    case 'drill':
      return { ...none, drill: drillToWire(progress.drill) };
    default:
      return unreachable(progress);
  }
}

function progressFromWire(wire: Received<'DrillProgress'>): DrillProgress {
  const { refused, planned, drill } = wire as { [K in 'refused' | 'planned' | 'drill']: (typeof wire)[K] | null };
  if (refused !== null) {
    const refusals = refused.refusals.map((each): DrillRefusal => {
      const { kind, text } = each;
      // A later controller may have reasons that this program does not know: the text says them.
      return { kind: isRefusalKind(kind) ? kind : 'unknown', message: text };
    });
    return { kind: 'refused', refusals };
  }
  if (planned !== null) return { kind: 'planned', plan: parsed(planned.json, 'DrillPlan') as DrillPlan };
  if (drill !== null) return { kind: 'drill', drill: drillFromWire(drill) };
  throw new FrotaError('corrupt', 'DrillProgress.message is missing or of a later version');
}

export const drillProgress: Codec<DrillProgress> = w.messageCodec('DrillProgress', progressToWire, progressFromWire);

export const followDrillRequest: Codec<FollowDrillRequest> = w.messageCodec(
  'FollowDrillRequest',
  ({ id, owner }) => ({ id, owner }),
  ({ id, owner }) => ({ id: w.name(id, 'FollowDrillRequest.id'), owner }),
);

export const listDrillsRequest: Codec<ListDrillsRequest> = w.messageCodec(
  'ListDrillsRequest',
  ({ id }) => ({ id: id ?? null }),
  ({ id }) => w.fields<ListDrillsRequest>({ id: id ?? undefined }),
);

export const listDrillsReply: Codec<ListDrillsReply> = w.messageCodec(
  'ListDrillsReply',
  ({ drills }) => ({ drills: drills.map(drillToWire) }),
  ({ drills }) => ({ drills: drills.map((each) => drillFromWire(each)) }),
);

export const stopDrillRequest: Codec<StopDrillRequest> = w.messageCodec(
  'StopDrillRequest',
  ({ id }) => ({ id }),
  ({ id }) => ({ id: w.name(id, 'StopDrillRequest.id') }),
);

export const stopDrillReply: Codec<StopDrillReply> = w.messageCodec(
  'StopDrillReply',
  ({ drill }) => ({ drill: drillToWire(drill) }),
  ({ drill }) => ({ drill: drillFromWire(w.required<Received<'Drill'>>(drill, 'StopDrillReply.drill')) }),
);
