/** The port through which commands reach a controller, in domain types. `connect.ts` holds its gRPC adapter. */
import type { UpdateNodeRequest } from '../../proto/codec/control-nodes.ts';
import type {
  ApplyReply,
  CreateJoinTokenReply,
  GetVersionReply,
  ListTasksRequest,
  ScaledService,
  ServiceScale,
  StackProgress,
} from '../../proto/codec/control.ts';
import type { RegistryLoginRequest } from '../../proto/codec/registry.ts';
import type { DrillProgress, RunDrillRequest } from '../../proto/codec/drills.ts';
import type { Drill } from '../../proto/domain/drill.ts';
import type { Content } from '../../proto/domain/content.ts';
import type { RegistryView } from '../../proto/domain/registry.ts';
import type { Inspected, ListEventsRequest } from '../../proto/codec/events.ts';
import type { ClusterEvent } from '../../proto/domain/event.ts';
import type { RestartedStack, RolloutUndoReply } from '../../proto/codec/rollouts.ts';
import type { NodeView, RevisionView, ServiceView, TaskView } from '../../proto/domain/views.ts';
import type { LogsQuery, LogsReply } from '../../proto/codec/streams.ts';
import type { ExecInput, ExecOutput, ExecStart } from '../../proto/domain/exec.ts';
import type { StackSpec } from '../../proto/domain/service.ts';

export type { StackProgress };
export type Applied = ApplyReply;
export type Scaled = ScaledService;
export type Undone = RolloutUndoReply;
export type Restarted = RestartedStack;
export type JoinToken = CreateJoinTokenReply;

/** Something about the connection that a person should know. */
export type Note = (text: string) => void;

/** Every call throws FrotaError; `unavailable` when no controller answers. `signal` ends it with `cancelled`. */
export interface Control {
  /** `contents`: the configs and secrets that the stack's services mount. */
  apply(spec: StackSpec, contents: readonly Content[], signal: AbortSignal): Promise<Applied>;
  scale(scales: readonly ServiceScale[], signal: AbortSignal): Promise<readonly Scaled[]>;
  /** Answers the names of the services that went. */
  removeStack(stack: string, signal: AbortSignal): Promise<readonly string[]>;
  listServices(stack: string | undefined, signal: AbortSignal): Promise<readonly ServiceView[]>;
  listTasks(filter: ListTasksRequest, signal: AbortSignal): Promise<readonly TaskView[]>;
  listNodes(signal: AbortSignal): Promise<readonly NodeView[]>;
  updateNode(request: UpdateNodeRequest, signal: AbortSignal): Promise<NodeView>;
  /** The stack now, and again after every change, until `signal` aborts or the connection breaks. */
  watchStack(stack: string, signal: AbortSignal): AsyncIterable<StackProgress>;
  /** What was, oldest first, then with `follow` what happens: across restarts of the controller, which are told by `note`; nothing is told twice. */
  listEvents(request: ListEventsRequest, signal: AbortSignal, note?: Note): AsyncIterable<ClusterEvent>;
  inspect(name: string, signal: AbortSignal): Promise<readonly Inspected[]>;
  /** Of a service or a stack's services, as written; undefined: of all. */
  rolloutStatus(target: string | undefined, signal: AbortSignal): Promise<readonly ServiceView[]>;
  /** Newest first; of one version, if it is given, with what it declares. */
  rolloutHistory(stack: string, version: number | undefined, signal: AbortSignal): Promise<readonly RevisionView[]>;
  rolloutUndo(stack: string, version: number | undefined, signal: AbortSignal): Promise<Undone>;
  rolloutRestart(targets: readonly string[], signal: AbortSignal): Promise<readonly Restarted[]>;
  /** Lines of all that is named, by time; with `follow` until `signal` aborts, across restarts of the controller as above. */
  logs(query: LogsQuery, signal: AbortSignal, note?: Note): AsyncIterable<LogsReply>;
  /** Its exit code is the last of its output; leaving the iteration kills the command. */
  exec(start: ExecStart, inputs: AsyncIterable<ExecInput>, signal: AbortSignal): AsyncIterable<ExecOutput>;
  /** Answers the registry's name as it is known from now on. */
  registryLogin(request: RegistryLoginRequest, signal: AbortSignal): Promise<string>;
  registryLogout(registry: string, signal: AbortSignal): Promise<string>;
  listRegistries(signal: AbortSignal): Promise<readonly RegistryView[]>;
  /** How the drill goes, until it has ended, a controller that is killed on the way included; who leaves before ends it. */
  runDrill(request: RunDrillRequest, signal: AbortSignal): AsyncIterable<DrillProgress>;
  /** Newest first; or the one of that id. */
  listDrills(id: string | undefined, signal: AbortSignal): Promise<readonly Drill[]>;
  /** Answers once it has ended. */
  stopDrill(id: string, signal: AbortSignal): Promise<Drill>;
  createJoinToken(ttlSeconds: number, signal: AbortSignal): Promise<JoinToken>;
  version(signal: AbortSignal): Promise<GetVersionReply>;
  close(): void;
}
