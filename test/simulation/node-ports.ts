/** The agent's hands on a simulated machine: images, runtime, network and files, with delays, failures and kills in between. */
import { FrotaError } from '../../proto/base/errors.ts';
import type { ActorPorts, TaskFiles, TaskMounts } from '../../agent/execute/ports.ts';
import type { Images } from '../../agent/images/images.ts';
import type { DesiredNetwork, NodeNetwork } from '../../agent/network/network.ts';
import { withoutSilent } from '../../agent/network/reroute.ts';
import type { CapturedExec, Runtime } from '../../agent/runtime/runtime.ts';
import { behaviourOf } from './behaviour.ts';
import type { Life } from './life.ts';
import type { Machine, SimulatedContainer } from './machine.ts';
import type { Tally } from './tally.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface PortWorld {
  readonly time: VirtualTime;
  readonly tally: Tally;
}

/** Ms; about what FINDINGS-like measurements of the real adapters give, with a long tail. */
const durations = {
  pull: { min: 50, max: 4_000 },
  present: { min: 1, max: 8 },
  create: { min: 20, max: 120 },
  start: { min: 5, max: 60 },
  signal: { min: 1, max: 10 },
  remove: { min: 5, max: 60 },
  attach: { min: 10, max: 60 },
  apply: { min: 5, max: 80 },
  list: { min: 2, max: 20 },
  file: { min: 0.2, max: 4 },
  check: { min: 10, max: 90 },
} as const;
/** The registry, or the kernel, says no. */
const failing = {
  pull: 0.03,
  attach: 0.01,
  create: 0.01,
  start: 0.02,
  apply: 0.02,
  remove: 0.02,
  check: 0.05,
} as const;
/** From a program's stop signal to its end. */
const stopsWithinMs = { min: 5, max: 1_500 };
const crashesAfterMs = 12_000;
const jobTakesMs = 8_000;
const ailsAfterMs = 10_000;
/** `fs.watch` tells of an exit this much later. */
const exitToldAfterMs = { min: 1, max: 8 };

export function nodePorts(
  machine: Machine,
  life: Life,
  world: PortWorld,
): Pick<ActorPorts, 'images' | 'runtime' | 'network' | 'files' | 'mounts'> {
  return {
    images: imagesOf(machine, life, world),
    runtime: runtimeOf(machine, life, world),
    network: networkOf(machine, life, world),
    files: filesOf(machine, life),
    mounts: mountsOf(machine, life),
  };
}

const takes = (machine: Machine, what: keyof typeof durations): number =>
  machine.random.between(durations[what].min, durations[what].max);

function mayFail(machine: Machine, world: PortWorld, what: keyof typeof failing): void {
  if (machine.calm || !machine.random.chance(failing[what])) return;
  world.tally.add(`${what} failed`);
  throw new FrotaError('unavailable', `simulated: ${what} failed`);
}

function imagesOf(machine: Machine, life: Life, world: PortWorld): Images {
  return {
    ensure: async (image, { signal, onProgress }) => {
      const key = image.digest;
      const present = machine.images.has(key);
      const pulled = life.call(takes(machine, present ? 'present' : 'pull'), () => {
        if (!present) mayFail(machine, world, 'pull');
        machine.images.add(key);
      });
      if (!present) onProgress?.({ totalBytes: 2_000_000, doneBytes: 1_000_000, phase: 'downloading' });
      await orCancelled(pulled, signal);
      return {
        manifestDigest: key,
        config: { entrypoint: [], command: ['run'], environment: [], workingDir: '', user: '' },
        lowerDirs: [`/layers/${key}`],
      };
    },
    sweep: () => life.sleep(takes(machine, 'list')),
  };
}

/** A step that is cancelled ends at once; what it had begun may still come to its end. */
async function orCancelled<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let cancel: () => void = () => undefined;
  const cancelled = new Promise<never>((_resolve, reject) => {
    cancel = () => {
      reject(new FrotaError('cancelled', 'no longer wanted'));
    };
  });
  cancelled.catch(() => undefined);
  work.catch(() => undefined);
  signal.addEventListener('abort', cancel, { once: true });
  if (signal.aborted) cancel();
  try {
    return await Promise.race([work, cancelled]);
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

function runtimeOf(machine: Machine, life: Life, world: PortWorld): Runtime {
  const find = (id: string): SimulatedContainer | undefined => machine.containers.get(id);
  const wallMs = (): number => Math.round(machine.wallMs());
  const exitLater = (container: SimulatedContainer, afterMs: number, exitCode: number): void => {
    const { generation } = container;
    world.time.after(afterMs, () => {
      if (container.generation !== generation) return 'quiet';
      machine.exit(container, exitCode, wallMs());
      return undefined;
    });
  };
  const later = (container: SimulatedContainer, meanMs: number, work: () => void): void => {
    const { generation } = container;
    world.time.after(machine.random.exponential(meanMs), () => {
      if (container.generation !== generation || machine.calm) return 'quiet';
      work();
      return undefined;
    });
  };
  const runs = (container: SimulatedContainer): void => {
    if (container.behaviour === 'ailing') later(container, ailsAfterMs, () => (container.ails = true));
    if (container.behaviour === 'job') later(container, jobTakesMs, () => machine.exit(container, 0, wallMs()));
    if (container.behaviour !== 'crashing') return;
    later(container, crashesAfterMs, () => {
      world.tally.add('containers that crashed');
      machine.exit(container, 1, wallMs());
    });
  };

  return {
    list: () =>
      life.call(takes(machine, 'list'), () => [...machine.containers.values()].map(({ id, state }) => ({ id, state }))),
    create: async (spec, signal) => {
      if (signal.aborted) throw new FrotaError('cancelled', 'no longer wanted');
      await life.call(takes(machine, 'create'), () => {
        if (signal.aborted) throw new FrotaError('cancelled', 'no longer wanted');
        mayFail(machine, world, 'create');
        const behaviour = behaviourOf(spec.labels);
        machine.containers.set(spec.id, {
          id: spec.id,
          behaviour,
          state: { kind: 'created' },
          ails: false,
          generation: 0,
        });
      });
    },
    start: (id) =>
      life.call(takes(machine, 'start'), () => {
        const container = find(id);
        if (container?.state.kind !== 'created')
          throw new FrotaError('not-found', `container ${id} is not there to start`);
        if (container.behaviour === 'unstartable' && !machine.calm) {
          throw new FrotaError('invalid', 'exec: "nothing": executable file not found');
        }
        mayFail(machine, world, 'start');
        const startedAtMs = wallMs();
        machine.start(container, startedAtMs, runs);
        return { pid: 1, startedAtMs };
      }),
    kill: (id, signal) =>
      life.call(takes(machine, 'signal'), () => {
        const container = find(id);
        if (container?.state.kind !== 'running') return;
        if (signal !== 'SIGKILL') machine.signal(container);
        if (signal === 'SIGKILL') exitLater(container, 1, 137);
        else if (container.behaviour !== 'stubborn') {
          exitLater(container, machine.random.between(stopsWithinMs.min, stopsWithinMs.max), 0);
        }
      }),
    remove: (id) =>
      life.call(takes(machine, 'remove'), () => {
        mayFail(machine, world, 'remove');
        const container = find(id);
        if (container === undefined) return;
        container.generation += 1;
        machine.containers.delete(id);
      }),
    logs: async function* () {
      yield [];
    },
    exec: () => Promise.reject(new FrotaError('unsupported', 'nobody types into a simulated container')),
    execCaptured: (id, _request, { timeoutMs }, signal) =>
      orCancelled(
        life.call(takes(machine, 'check'), () => {
          const container = find(id);
          if (container?.state.kind !== 'running') throw new FrotaError('conflict', `container ${id} does not run`);
          const result = checkOf(machine, container, timeoutMs);
          world.tally.add(
            result.kind === 'exited' && result.exitCode === 0 ? 'health checks' : 'health checks that failed',
          );
          return result;
        }),
        signal,
      ),
    lastOutput: () => life.call(takes(machine, 'file'), () => 'last words\n'),
    onExit: (listener) => {
      machine.onExit((id, exit) => {
        world.time.after(machine.random.between(exitToldAfterMs.min, exitToldAfterMs.max), () => {
          if (!life.alive || !machine.containers.has(id)) return 'quiet';
          life.whenAwake(() => {
            listener(id, exit);
          });
          return undefined;
        });
      });
    },
    close: () => Promise.resolve(),
  };
}

/** A check now and then fails or hangs in a container that is well. */
function checkOf({ random, calm }: Machine, { ails }: SimulatedContainer, timeoutMs: number): CapturedExec {
  if (ails && !calm) return { kind: 'exited', exitCode: 1, output: 'unwell' };
  if (!calm && random.chance(failing.check / 2))
    return { kind: 'timed-out', output: `nothing in ${String(timeoutMs)} ms` };
  return { kind: 'exited', exitCode: !calm && random.chance(failing.check) ? 1 : 0, output: '' };
}

function networkOf(machine: Machine, life: Life, world: PortWorld): NodeNetwork {
  let tail: Promise<unknown> = Promise.resolve();
  let silentNodes: ReadonlySet<string> = new Set();
  let desired: DesiredNetwork | undefined;
  const enforce = (): Promise<void> => {
    const mine = tail.then(() =>
      life.call(takes(machine, 'apply'), () => {
        mayFail(machine, world, 'apply');
        if (desired === undefined) return;
        machine.enforce(desired, { ...desired, services: withoutSilent(desired.services, silentNodes) });
      }),
    );
    tail = mine.catch(() => undefined);
    return mine;
  };
  return {
    list: () => life.call(takes(machine, 'list'), () => [...machine.attachments.values()]),
    resident: (address) => [...machine.attachments.values()].find((each) => each.address === address),
    attach: (taskId) =>
      life.call(takes(machine, 'attach'), () => {
        mayFail(machine, world, 'attach');
        const known = machine.attachments.get(taskId);
        if (known !== undefined) return known;
        const attachment = { taskId, address: freeAddress(machine), namespace: `/run/netns/${taskId}` };
        machine.attachments.set(taskId, attachment);
        return attachment;
      }),
    detach: (taskId) =>
      life.call(takes(machine, 'attach'), () => {
        machine.attachments.delete(taskId);
      }),
    apply: (next) => {
      desired = next;
      return enforce();
    },
    reroute: (nodes) => {
      silentNodes = nodes;
      return enforce();
    },
    repair: enforce,
    watch: () => life.never(),
    close: () => Promise.resolve(),
  };
}

function freeAddress(machine: Machine): string {
  const prefix = machine.subnet.replace(/\.0\/24$/, '');
  const taken = new Set([...machine.attachments.values()].map(({ address }) => address));
  for (let host = 2; host < 255; host += 1)
    if (!taken.has(`${prefix}.${String(host)}`)) return `${prefix}.${String(host)}`;
  throw new FrotaError('exhausted', 'no address is free');
}

function filesOf(machine: Machine, life: Life): TaskFiles {
  return {
    prepare: (task) =>
      life.call(takes(machine, 'file'), () => {
        machine.files.add(task.id);
        return [];
      }),
    refresh: () => life.sleep(takes(machine, 'file')),
    remove: (taskId) =>
      life.call(takes(machine, 'file'), () => {
        machine.files.delete(taskId);
      }),
    list: () => life.call(takes(machine, 'file'), () => [...machine.files]),
  };
}

/** Memory: gone with the power. */
function mountsOf(machine: Machine, life: Life): TaskMounts {
  return {
    prepare: (task) =>
      life.call(takes(machine, 'file'), () => {
        if (task.template.files.length > 0) machine.mounts.add(task.id);
        return { files: [], mounts: [], settle: () => Promise.resolve() };
      }),
    remove: (taskId) =>
      life.call(takes(machine, 'file'), () => {
        machine.mounts.delete(taskId);
      }),
    list: () => life.call(takes(machine, 'file'), () => [...machine.mounts]),
  };
}
