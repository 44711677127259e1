import type {
  Applied,
  Control,
  JoinToken,
  Restarted,
  Scaled,
  StackProgress,
  Undone,
} from '../../../cli/commands/control.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { RegistryLoginRequest } from '../../../proto/codec/registry.ts';
import type { RegistryView } from '../../../proto/domain/registry.ts';
import type { DrillProgress, RunDrillRequest } from '../../../proto/codec/drills.ts';
import type { Drill } from '../../../proto/domain/drill.ts';
import type { Content } from '../../../proto/domain/content.ts';
import type { UpdateNodeRequest } from '../../../proto/codec/control-nodes.ts';
import type { StackSpec } from '../../../proto/domain/service.ts';
import type { Inspected, ListEventsRequest } from '../../../proto/codec/events.ts';
import type { ClusterEvent } from '../../../proto/domain/event.ts';
import type { NodeView, RevisionView, ServiceView, TaskView } from '../../../proto/domain/views.ts';
import type { LogsQuery, LogsReply } from '../../../proto/codec/streams.ts';
import type { ExecInput, ExecOutput, ExecStart } from '../../../proto/domain/exec.ts';

export const aTask = (over: Partial<TaskView> = {}): TaskView => ({
  id: 't1',
  stack: 'hello',
  service: 'web',
  slot: 1,
  node: 'n1',
  state: 'running',
  desiredState: 'running',
  health: 'none',
  address: '10.201.1.2',
  ports: [{ target: 8080, published: 8080, protocol: 'tcp' }],
  image: '10.0.0.1:5000/web:1',
  since: '2026-11-21T06:00:00.000Z',
  startedAt: '2026-11-21T06:00:00.000Z',
  exitCode: null,
  restarts: 0,
  reason: null,
  ...over,
});

export const aService = (over: Partial<ServiceView> = {}): ServiceView => ({
  stack: 'hello',
  name: 'web',
  mode: 'replicated',
  image: '10.0.0.1:5000/web:1',
  replicas: { desired: 1, running: 1 },
  ports: [{ target: 8080, published: 8080, protocol: 'tcp' }],
  rollout: null,
  ...over,
});

export const aNode = (over: Partial<NodeView> = {}): NodeView => ({
  id: 'node-1',
  name: 'n1',
  state: 'ready',
  availability: 'active',
  address: '10.200.0.11',
  capacity: { cpuMillis: 2000, memoryBytes: 4 * 1024 ** 3 },
  reserved: { cpuMillis: 250, memoryBytes: 64 * 1024 ** 2 },
  tasks: 2,
  since: '2026-11-21T05:00:00.000Z',
  labels: {},
  notes: [],
  ...over,
});

export const progress = (over: Partial<StackProgress> = {}): StackProgress => ({
  declared: true,
  version: 1,
  services: [aService()],
  tasks: [aTask()],
  converged: true,
  stuck: [],
  failed: [],
  settling: [],
  ...over,
});

/** A step of a watch: what the controller tells, a break of the connection, or silence until the caller gives up. */
export type WatchStep = StackProgress | FrotaError | 'silence';

/** A controller that answers what a test put here and remembers what it was asked. */
export class FakeControl implements Control {
  readonly calls: unknown[] = [];
  applied: Applied = { version: 1, changed: true, created: ['web'], updated: [], removed: [], unchanged: [] };
  scaled: readonly Scaled[] = [];
  services: readonly ServiceView[] = [];
  tasks: readonly TaskView[] = [];
  nodes: readonly NodeView[] = [];
  stacks: readonly string[] = ['hello'];
  events: readonly ClusterEvent[] = [];
  inspected = new Map<string, readonly Inspected[]>();
  revisions: readonly RevisionView[] = [];
  restores = 1;
  registries: readonly RegistryView[] = [];
  restarted: readonly Restarted[] = [];
  logReplies: readonly LogsReply[] = [];
  readonly inputs: ExecInput[] = [];
  outputs: readonly ExecOutput[] = [];
  drills: readonly Drill[] = [];
  drillSteps: readonly (DrillProgress | FrotaError | 'until stopped')[] = [];
  /** Of a stream that was opened again. */
  followSteps: readonly DrillProgress[] = [];
  #stopped: () => void = () => undefined;
  failure: FrotaError | undefined;
  /** Each watch takes the next list; the last one is used again. */
  watches: WatchStep[][] = [[progress()]];
  open = 0;

  apply(spec: StackSpec, contents: readonly Content[]): Promise<Applied> {
    return this.#answer(contents.length === 0 ? { apply: spec } : { apply: spec, contents }, this.applied);
  }

  scale(scales: readonly object[]): Promise<readonly Scaled[]> {
    return this.#answer({ scale: scales }, this.scaled);
  }

  removeStack(stack: string): Promise<readonly string[]> {
    if (!this.stacks.includes(stack)) return Promise.reject(new FrotaError('not-found', `no stack ${stack}`));
    return this.#answer({ removeStack: stack }, ['web']);
  }

  listServices(stack: string | undefined): Promise<readonly ServiceView[]> {
    if (stack !== undefined && !this.stacks.includes(stack)) {
      return Promise.reject(new FrotaError('not-found', `there is no stack "${stack}"`));
    }
    return this.#answer({ listServices: stack }, this.services);
  }

  listTasks(filter: object): Promise<readonly TaskView[]> {
    return this.#answer({ listTasks: filter }, this.tasks);
  }

  listNodes(): Promise<readonly NodeView[]> {
    return this.#answer('listNodes', this.nodes);
  }

  updateNode(request: UpdateNodeRequest): Promise<NodeView> {
    this.calls.push({ updateNode: request });
    const node = this.nodes.find(({ name }) => name === request.node);
    if (node === undefined) return Promise.reject(new FrotaError('not-found', `there is no node "${request.node}"`));
    const labels = { ...node.labels, ...request.setLabels };
    const kept = Object.entries(labels).filter(([name]) => !request.removeLabels.includes(name));
    const updated = {
      ...node,
      labels: Object.fromEntries(kept),
      availability: request.availability ?? node.availability,
    };
    this.nodes = this.nodes.map((each) => (each === node ? updated : each));
    return Promise.resolve(updated);
  }

  registryLogin(request: RegistryLoginRequest): Promise<string> {
    return this.#answer({ registryLogin: request }, request.host);
  }

  registryLogout(registry: string): Promise<string> {
    return this.#answer({ registryLogout: registry }, registry);
  }

  listRegistries(): Promise<readonly RegistryView[]> {
    return this.#answer('listRegistries', this.registries);
  }

  async *watchStack(stack: string, signal: AbortSignal): AsyncGenerator<StackProgress> {
    this.calls.push({ watchStack: stack });
    const steps = this.watches.length > 1 ? this.watches.shift() : this.watches[0];
    for (const step of steps ?? []) {
      if (step === 'silence') await untilAborted(signal);
      else if (step instanceof FrotaError) throw step;
      else yield step;
    }
  }

  async *listEvents(request: ListEventsRequest): AsyncGenerator<ClusterEvent> {
    this.calls.push({ listEvents: request });
    if (this.failure !== undefined) throw this.failure;
    yield* this.events;
    await Promise.resolve();
  }

  inspect(name: string): Promise<readonly Inspected[]> {
    return this.#answer({ inspect: name }, this.inspected.get(name) ?? []);
  }

  rolloutStatus(target: string | undefined): Promise<readonly ServiceView[]> {
    return this.#answer({ rolloutStatus: target }, this.services);
  }

  rolloutHistory(stack: string, version: number | undefined): Promise<readonly RevisionView[]> {
    return this.#answer({ rolloutHistory: stack, version }, this.revisions);
  }

  rolloutUndo(stack: string, version: number | undefined): Promise<Undone> {
    return this.#answer({ rolloutUndo: stack, version }, { ...this.applied, restores: this.restores });
  }

  rolloutRestart(targets: readonly string[]): Promise<readonly Restarted[]> {
    return this.#answer({ rolloutRestart: targets }, this.restarted);
  }

  async *runDrill(request: RunDrillRequest, signal: AbortSignal): AsyncGenerator<DrillProgress> {
    this.calls.push({ runDrill: request });
    if (this.failure !== undefined) throw this.failure;
    for (const step of this.drillSteps) {
      if (step === 'until stopped') await this.#untilStopped(signal);
      else if (step instanceof FrotaError) throw step;
      else yield step;
    }
  }

  async *followDrill(id: string): AsyncGenerator<DrillProgress> {
    this.calls.push({ followDrill: id });
    await Promise.resolve();
    yield* this.followSteps;
  }

  listDrills(id: string | undefined): Promise<readonly Drill[]> {
    return this.#answer(
      { listDrills: id },
      id === undefined ? this.drills : this.drills.filter((each) => each.id === id),
    );
  }

  stopDrill(id: string): Promise<Drill> {
    this.#stopped();
    const drill = this.drills.find((each) => each.id === id);
    if (drill === undefined) return Promise.reject(new FrotaError('not-found', `there is no drill "${id}"`));
    return this.#answer({ stopDrill: id }, drill);
  }

  createJoinToken(ttlSeconds: number): Promise<JoinToken> {
    const token = { token: 'T.secret', joinAddress: '10.200.0.2:7401', expiresAtMs: 1_800_000_000_000 };
    return this.#answer({ createJoinToken: ttlSeconds }, token);
  }

  version(): Promise<{ version: string; clusterId: string }> {
    return this.#answer('version', { version: '9.9.9', clusterId: 'c1' });
  }

  async *logs(query: LogsQuery): AsyncIterable<LogsReply> {
    this.calls.push({ logs: query });
    if (this.failure !== undefined) throw this.failure;
    yield* this.logReplies;
    await Promise.resolve();
  }

  async *exec(start: ExecStart, inputs: AsyncIterable<ExecInput>): AsyncIterable<ExecOutput> {
    this.calls.push({ exec: start });
    if (this.failure !== undefined) throw this.failure;
    for await (const input of inputs) this.inputs.push(input);
    yield* this.outputs;
  }

  close(): void {
    this.open -= 1;
  }

  #untilStopped(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#stopped = resolve;
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  #answer<T>(call: unknown, reply: T): Promise<T> {
    this.calls.push(call);
    return this.failure === undefined ? Promise.resolve(reply) : Promise.reject(this.failure);
  }
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = (): void => {
      reject(new FrotaError('cancelled', 'the watch was cancelled'));
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
