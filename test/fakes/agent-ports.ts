/** In-memory stand-ins for the ports a task's actor works with; they keep the ports' rules and write down what was called. */
import { FrotaError } from '../../proto/base/errors.ts';
import { monoMs, wallMs } from '../../proto/base/clock.ts';
import { silentLogger } from '../../proto/base/log.ts';
import type { AssignedTask } from '../../proto/domain/assignment.ts';
import type { HealthCheck } from '../../proto/domain/health.ts';
import type { TaskStatus } from '../../proto/domain/task.ts';
import type { ActorPorts } from '../../agent/execute/ports.ts';
import type { Attachment } from '../../agent/network/network.ts';
import type { CapturedExec, Container, ContainerExit } from '../../agent/runtime/runtime.ts';
import type { Journal } from '../../agent/state/journal.ts';

export interface FakeHost {
  readonly ports: Omit<ActorPorts, 'onForgotten' | 'checkTurns'>;
  readonly calls: string[];
  readonly statuses: TaskStatus[];
  readonly containers: Map<string, Container>;
  readonly attachments: Map<string, Attachment>;
  readonly records: Map<string, unknown>;
  /** Ends a running container as its process would. */
  exit(id: string, exitCode: number): void;
  /** Makes the next calls of this name fail, until undefined. */
  readonly failing: Map<string, FrotaError>;
  /** While set, `ensure` waits for it or for the abort. */
  pullGate: Promise<void> | undefined;
  /** The image's own health check. */
  healthCheck: HealthCheck | undefined;
  /** What comes of a command run in a container. */
  captured: (id: string, args: readonly string[], signal: AbortSignal) => Promise<CapturedExec>;
  /** While set, the making of mounts waits for it. */
  mountGate: ((onWait: (reason: string) => void, signal: AbortSignal) => Promise<void>) | undefined;
  /** Tasks that have mounts of their own. */
  readonly mounted: Set<string>;
}

export function fakeHost(): FakeHost {
  const calls: string[] = [];
  const statuses: TaskStatus[] = [];
  const containers = new Map<string, Container>();
  const attachments = new Map<string, Attachment>();
  const records = new Map<string, unknown>();
  const failing = new Map<string, FrotaError>();
  let listener: (id: string, exit: ContainerExit) => void = () => undefined;
  const call = (name: string): void => {
    calls.push(name);
    const error = failing.get(name);
    if (error !== undefined) throw error;
  };
  const exit = (id: string, exitCode: number): void => {
    const ended = { exitCode, oomKilled: false, finishedAtMs: Date.now() };
    containers.set(id, { id, state: { kind: 'ended', exit: ended } });
    listener(id, ended);
  };
  const journal: Journal = {
    put: (kind, id, value) =>
      attempt(() => {
        call('put');
        records.set(`${kind}/${id}`, structuredClone(value));
      }),
    delete: (kind, id) => attempt(() => void records.delete(`${kind}/${id}`)),
    load: (kind) =>
      Promise.resolve(
        [...records]
          .filter(([key]) => key.startsWith(`${kind}/`))
          .map(([key, value]) => ({ id: key.slice(kind.length + 1), value })),
      ),
  };
  const host: FakeHost = {
    calls,
    statuses,
    containers,
    attachments,
    records,
    failing,
    exit,
    pullGate: undefined,
    healthCheck: undefined,
    captured: () => Promise.reject(new FrotaError('unsupported', 'nothing can be run in a stand-in')),
    mountGate: undefined,
    mounted: new Set(),
    ports: {
      images: {
        ensure: async (_image, { signal }) => {
          call('ensure');
          if (host.pullGate !== undefined) {
            const aborted = new Promise<never>((_resolve, reject) => {
              signal.addEventListener('abort', () => {
                reject(new FrotaError('cancelled', 'the pull was cancelled'));
              });
            });
            await Promise.race([host.pullGate, aborted]);
          }
          const config = {
            entrypoint: [],
            command: ['sleep', '1'],
            environment: [],
            workingDir: '',
            user: '',
            stopSignal: 'SIGQUIT',
            ...(host.healthCheck === undefined ? {} : { healthCheck: host.healthCheck }),
          };
          return { manifestDigest: 'sha256:1', config, lowerDirs: ['/lower'] };
        },
        sweep: () => Promise.resolve(),
      },
      runtime: {
        list: () => Promise.resolve([...containers.values()]),
        create: (spec) =>
          attempt(() => {
            call('create');
            containers.set(spec.id, { id: spec.id, state: { kind: 'created' } });
          }),
        start: (id) =>
          attempt(() => {
            call('start');
            containers.set(id, { id, state: { kind: 'running', pid: 1, startedAtMs: 7 } });
            return { pid: 1, startedAtMs: 7 };
          }),
        kill: (id, signal) =>
          attempt(() => {
            call(`kill ${signal}`);
            if (signal === 'SIGKILL') exit(id, 137);
          }),
        remove: (id) =>
          attempt(() => {
            call('remove');
            containers.delete(id);
          }),
        logs: async function* () {
          yield [];
        },
        exec: () => Promise.reject(new FrotaError('unsupported', 'nothing can be run in a stand-in')),
        execCaptured: async (id, { args }, _options, signal) => {
          if (containers.get(id)?.state.kind !== 'running') throw new FrotaError('conflict', `${id} does not run`);
          return host.captured(id, args, signal);
        },
        lastOutput: () => Promise.resolve('one\nlast words\n'),
        onExit: (added) => {
          listener = added;
        },
        close: () => Promise.resolve(),
      },
      network: {
        list: () => Promise.resolve([...attachments.values()]),
        resident: (address) => [...attachments.values()].find((each) => each.address === address),
        attach: (taskId) =>
          attempt(() => {
            call('attach');
            const attachment = { taskId, address: '10.64.0.2', namespace: `/run/netns/${taskId}` };
            attachments.set(taskId, attachment);
            return attachment;
          }),
        detach: (taskId) =>
          attempt(() => {
            call('detach');
            attachments.delete(taskId);
          }),
        apply: () => Promise.resolve(),
        reroute: () => Promise.resolve(),
        repair: () => Promise.resolve(),
        watch: () => Promise.resolve(),
        close: () => Promise.resolve(),
      },
      files: {
        prepare: () => Promise.resolve([]),
        refresh: () => Promise.resolve(),
        remove: () => Promise.resolve(),
        list: () => Promise.resolve([]),
      },
      mounts: {
        prepare: async (_task, _image, { signal, onWait }) => {
          await host.mountGate?.(onWait, signal);
          return { files: [], mounts: [], settle: () => Promise.resolve() };
        },
        remove: (taskId) => attempt(() => void host.mounted.delete(taskId)),
        list: () => Promise.resolve([...host.mounted]),
      },
      leases: {
        holds: () => true,
        hasEnded: () => false,
        isGuarded: () => true,
        arm: () => Promise.resolve(),
        release: () => Promise.resolve(),
      },
      journal,
      clock: { now: () => ({ monoMs: monoMs(performance.now()), wallMs: wallMs(Date.now()) }) },
      logger: silentLogger,
      networkReady: () => Promise.resolve(),
      onStatus: (status) => statuses.push(status),
    },
  };
  return host;
}

/** What throws inside becomes a rejected promise, as of an asynchronous port. */
async function attempt<T>(work: () => T): Promise<T> {
  return work();
}

export const assignedTask = (id: string, over: Partial<AssignedTask> = {}): AssignedTask => ({
  id,
  stack: 'app',
  service: 'web',
  slot: 1,
  desired: 'running',
  template: {
    image: { reference: 'registry/web:1', digest: `sha256:${'0'.repeat(64)}` },
    environment: {},
    labels: {},
    limits: {},
    reservations: { cpuMillis: 0, memoryBytes: 0 },
    stopGracePeriodMs: 20,
    drainDelayMs: 0,
    mounts: [],
    files: [],
    networks: [{ network: 'app_default', aliases: [] }],
    generation: 0,
  },
  ...over,
});
