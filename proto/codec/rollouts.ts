/** Requests and replies of `frota rollout`: their shapes in the domain's terms, and their codecs. */
import type { RevisionView, ServiceView } from '../domain/views.ts';
import { applyReplyFromWire, applyReplyToWire } from './control.ts';
import type { ApplyReply } from './control.ts';
import { revisionViewFromWire, revisionViewToWire, serviceViewFromWire, serviceViewToWire } from './views.ts';
import * as w from './wire.ts';
import type { Codec } from './wire.ts';

/** A service as a person writes it, or a stack's name; absent: every service. */
export interface RolloutStatusRequest {
  readonly target?: string;
}
export interface RolloutStatusReply {
  readonly services: readonly ServiceView[];
}
export interface RolloutHistoryRequest {
  readonly stack: string;
  /** Only this one, with what it declares. */
  readonly version?: number;
}
/** Newest first. */
export interface RolloutHistoryReply {
  readonly revisions: readonly RevisionView[];
}
export interface RolloutUndoRequest {
  readonly stack: string;
  /** Absent: the one before the one that is declared. */
  readonly version?: number;
}
export interface RolloutUndoReply extends ApplyReply {
  /** The version that is declared anew. */
  readonly restores: number;
}
/** Services as written, or names of stacks. */
export interface RolloutRestartRequest {
  readonly targets: readonly string[];
}
export interface RestartedStack {
  readonly stack: string;
  readonly version: number;
  readonly services: readonly string[];
}
export interface RolloutRestartReply {
  readonly stacks: readonly RestartedStack[];
}

export const rolloutStatusRequest: Codec<RolloutStatusRequest> = w.messageCodec(
  'RolloutStatusRequest',
  ({ target }) => ({ target: target ?? null }),
  ({ target }) => w.fields<RolloutStatusRequest>({ target: target ?? undefined }),
);

export const rolloutStatusReply: Codec<RolloutStatusReply> = w.messageCodec(
  'RolloutStatusReply',
  ({ services }) => ({ services: services.map(serviceViewToWire) }),
  ({ services }) => ({ services: services.map(serviceViewFromWire) }),
);

export const rolloutHistoryRequest: Codec<RolloutHistoryRequest> = w.messageCodec(
  'RolloutHistoryRequest',
  ({ stack, version }) => ({ stack, version: w.optionalUint32(version, 'RolloutHistoryRequest.version') }),
  ({ stack, version }) => w.fields<RolloutHistoryRequest>({ stack, version: version ?? undefined }),
);

export const rolloutHistoryReply: Codec<RolloutHistoryReply> = w.messageCodec(
  'RolloutHistoryReply',
  ({ revisions }) => ({ revisions: revisions.map(revisionViewToWire) }),
  ({ revisions }) => ({ revisions: revisions.map(revisionViewFromWire) }),
);

export const rolloutUndoRequest: Codec<RolloutUndoRequest> = w.messageCodec(
  'RolloutUndoRequest',
  ({ stack, version }) => ({ stack, version: w.optionalUint32(version, 'RolloutUndoRequest.version') }),
  ({ stack, version }) => w.fields<RolloutUndoRequest>({ stack, version: version ?? undefined }),
);

export const rolloutUndoReply: Codec<RolloutUndoReply> = w.messageCodec(
  'RolloutUndoReply',
  ({ restores, ...applied }) => ({
    applied: applyReplyToWire(applied),
    restores: w.uint32(restores, 'RolloutUndoReply.restores'),
  }),
  ({ applied, restores }) => ({
    ...applyReplyFromWire(w.required(applied, 'RolloutUndoReply.applied')),
    restores,
  }),
);

export const rolloutRestartRequest: Codec<RolloutRestartRequest> = w.messageCodec(
  'RolloutRestartRequest',
  ({ targets }) => ({ targets: [...targets] }),
  ({ targets }) => ({ targets }),
);

export const rolloutRestartReply: Codec<RolloutRestartReply> = w.messageCodec(
  'RolloutRestartReply',
  ({ stacks }) => ({
    stacks: stacks.map(({ stack, version, services }) => ({
      stack,
      version: w.uint32(version, 'RestartedStack.version'),
      services: [...services],
    })),
  }),
  ({ stacks }) => ({ stacks: stacks.map(({ stack, version, services }) => ({ stack, version, services })) }),
);
