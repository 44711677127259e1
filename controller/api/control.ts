/** The Control service's calls: who may call, names as people write them, then the use-case, then the rows people see. */
import { FrotaError } from '../../proto/base/errors.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import type {
  FollowDrillRequest,
  ListDrillsRequest,
  RunDrillRequest,
  StopDrillRequest,
} from '../../proto/codec/drills.ts';
import type { UpdateNodeReply, UpdateNodeRequest } from '../../proto/codec/control-nodes.ts';
import type { InspectReply, InspectRequest, ListEventsRequest } from '../../proto/codec/events.ts';
import type * as wire from '../../proto/codec/control.ts';
import type * as rollouts from '../../proto/codec/rollouts.ts';
import { resolveService, resolveTarget, unknownStack } from '../plan/resolve-service.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import { nodeViews, serviceViews, taskViews } from '../plan/views.ts';
import type { ViewInput } from '../plan/views.ts';
import { followDrill, listDrills, runDrill, stopDrill } from './drills.ts';
import type { DrillPorts } from './drills.ts';
import { listEvents } from './events.ts';
import type { EventPorts } from './events.ts';
import { inspect } from './inspect.ts';
import { applyStack } from './apply.ts';
import { updateNode } from './nodes.ts';
import type { NodePorts } from './nodes.ts';
import { watchStack } from './progress.ts';
import { registryUseCases } from './registries.ts';
import type { RegistryPorts } from './registries.ts';
import { restartServices, stackHistory, undoStack } from './rollouts.ts';
import { removeStack, scaleServices } from './stacks.ts';
import type { StackPorts } from './stacks.ts';

export interface ControlPorts extends StackPorts, NodePorts, EventPorts, RegistryPorts, DrillPorts {
  readonly liveness: () => ReadonlyMap<string, NodeLiveness>;
  /** By task id; of the last pass of the control loop. */
  readonly reasons: () => ReadonlyMap<string, string>;
  /** Resolves when a pass that sees everything accepted so far has ended. */
  readonly passed: () => Promise<void>;
  /** Calls the listener after each change of what people can see, until the returned function is called. */
  readonly onChange: (listener: () => void) => () => void;
  /** `ttlMs` undefined: the default. */
  readonly createToken: (ttlMs: number | undefined) => Promise<{ token: string; expiresAtMs: number }>;
  /** host:port */
  readonly joinAddress: string;
  readonly version: string;
  readonly clusterId: string;
}

/** What a call knows of its caller. */
export interface Caller {
  /** Common name of the client certificate. */
  readonly name: string;
  readonly signal: AbortSignal;
}

export function createControl(ports: ControlPorts) {
  const viewInput = (): ViewInput => ({
    snapshot: ports.snapshot(),
    liveness: ports.liveness(),
    reasons: ports.reasons(),
    isoTime: (wallMs) => new Date(wallMs).toISOString(),
  });

  return {
    apply: async (request: wire.ApplyRequest, caller: Caller): Promise<wire.ApplyReply> => {
      const result = await applyStack(ports, request.spec, caller.name, caller.signal, request.contents);
      await ports.passed();
      return result;
    },
    scale: async (request: wire.ScaleRequest, caller: Caller): Promise<wire.ScaleReply> => {
      const snapshot = ports.snapshot();
      const requests = request.scales.map(({ service, replicas }) => ({
        ...knownService(snapshot, service),
        replicas,
      }));
      const results = await scaleServices(ports, requests, caller.name);
      await ports.passed();
      return {
        services: results.map(({ stack, service, before, replicas }) => ({ stack, service, before, after: replicas })),
      };
    },
    removeStack: async ({ stack }: wire.RemoveStackRequest): Promise<wire.RemoveStackReply> => {
      const services = await removeStack(ports, stack);
      await ports.passed();
      return { services };
    },
    listServices: ({ stack }: wire.ListServicesRequest): wire.ListServicesReply => {
      const problem = stack === undefined ? undefined : unknownStack(ports.snapshot(), stack);
      if (problem !== undefined) throw new FrotaError(problem.code, problem.message);
      return { services: serviceViews(viewInput(), stack) };
    },
    listTasks: ({ service, all }: wire.ListTasksRequest): wire.ListTasksReply => ({
      tasks: taskViews(viewInput(), { ...taskFilter(ports.snapshot(), service), all }),
    }),
    listNodes: (): wire.ListNodesReply => ({ nodes: nodeViews(viewInput()) }),
    updateNode: async ({ node: written, ...change }: UpdateNodeRequest): Promise<UpdateNodeReply> => {
      const { id } = await updateNode(ports, written, change);
      await ports.passed();
      const node = nodeViews(viewInput()).find((view) => view.id === id);
      if (node === undefined) throw new FrotaError('not-found', `node "${written}" has just left the cluster`);
      return { node };
    },
    watchStack: ({ stack }: wire.WatchStackRequest, caller: Caller): AsyncIterable<wire.StackProgress> =>
      watchStack({ viewInput, onChange: ports.onChange, nowMs: ports.nowMs }, stack, caller.signal),
    ...rolloutUseCases(ports, viewInput),
    ...registryUseCases(ports),
    runDrill: (request: RunDrillRequest, caller: Caller) => runDrill(ports, request, caller),
    followDrill: (request: FollowDrillRequest, caller: Caller) => followDrill(ports, request, caller),
    listDrills: (request: ListDrillsRequest) => listDrills(ports, request),
    stopDrill: ({ id }: StopDrillRequest, caller: Caller) => stopDrill(ports, id, caller.name),
    createJoinToken: async ({ ttlSeconds }: wire.CreateJoinTokenRequest): Promise<wire.CreateJoinTokenReply> => {
      const ttlMs = ttlSeconds === 0 ? undefined : ttlSeconds * 1000;
      return { ...(await ports.createToken(ttlMs)), joinAddress: ports.joinAddress };
    },
    listEvents: (request: ListEventsRequest, caller: Caller) => listEvents(ports, request, caller.signal),
    inspect: ({ name }: InspectRequest): InspectReply => ({ found: inspect(viewInput(), name) }),
    getVersion: (): wire.GetVersionReply => ({ version: ports.version, clusterId: ports.clusterId }),
  };
}

function rolloutUseCases(ports: ControlPorts, viewInput: () => ViewInput) {
  return {
    rolloutStatus: ({ target }: rollouts.RolloutStatusRequest): rollouts.RolloutStatusReply => {
      const { stack, service } = taskFilter(ports.snapshot(), target);
      const services = serviceViews(viewInput(), stack);
      return { services: services.filter(({ name }) => service === undefined || name === service) };
    },
    rolloutHistory: async (request: rollouts.RolloutHistoryRequest): Promise<rollouts.RolloutHistoryReply> => ({
      revisions: await stackHistory(ports, request.stack, request.version, viewInput().isoTime),
    }),
    rolloutUndo: async (request: rollouts.RolloutUndoRequest, caller: Caller): Promise<rollouts.RolloutUndoReply> => {
      const result = await undoStack(ports, request.stack, request.version, caller.name);
      await ports.passed();
      return result;
    },
    rolloutRestart: async (
      { targets }: rollouts.RolloutRestartRequest,
      caller: Caller,
    ): Promise<rollouts.RolloutRestartReply> => {
      const stacks = await restartServices(ports, targets, caller.name);
      await ports.passed();
      return { stacks };
    },
  };
}

export type Control = ReturnType<typeof createControl>;

function knownService(snapshot: Snapshot, written: string): { stack: string; service: string } {
  const resolved = resolveService(snapshot, written);
  if (resolved.kind === 'problem') throw new FrotaError(resolved.code, resolved.message);
  return { stack: resolved.stack, service: resolved.service };
}

function taskFilter(snapshot: Snapshot, written: string | undefined): { stack?: string; service?: string } {
  if (written === undefined) return {};
  const resolved = resolveTarget(snapshot, written);
  switch (resolved.kind) {
    case 'problem':
      throw new FrotaError(resolved.code, resolved.message);
    case 'stack':
      return { stack: resolved.stack };
    case 'service':
      return { stack: resolved.stack, service: resolved.service };
  }
}
