/**
 * One machine: what is on it whether or not an agent runs. Containers outlive their agent, not a power cut; disk, images
 * and the leases of addresses outlive both.
 */
import type { Attachment } from '../../agent/network/network.ts';
import type { Container, ContainerExit } from '../../agent/runtime/runtime.ts';
import type { DesiredNetwork } from '../../agent/network/network.ts';
import type { Resources } from '../../proto/domain/resources.ts';
import type { Behaviour } from './behaviour.ts';
import { Disk } from './disk.ts';
import { Guard } from './guard.ts';
import type { Random } from './random.ts';
import type { VirtualTime } from './virtual-time.ts';

/** A container and what its program is like. */
export interface SimulatedContainer {
  readonly id: string;
  readonly behaviour: Behaviour;
  state: Container['state'];
  /** Its health check fails from now on. */
  ails: boolean;
  /** Raised whenever it starts or ends, so that what was planned for an earlier life of it does not happen. */
  generation: number;
}

/** Values of the nodes' label `zone`. */
export const zones = ['north', 'south'] as const;

export interface MachineEvents {
  /** A process was started in a container. */
  readonly started: (machine: Machine, taskId: string) => void;
  /** Its traffic goes where `applied` says from now on; `desired`: what it was told. */
  readonly enforced: (machine: Machine, desired: DesiredNetwork, applied: DesiredNetwork) => void;
  readonly killedByGuard: (machine: Machine, taskId: string) => void;
  /** A process that runs is being sent its stop signal. */
  readonly signalled: (machine: Machine, taskId: string) => void;
}

/**
 * How much faster or slower than the world's a clock may go: of two of them the one is then ahead of the other by 0.9 % at
 * the most, and leases allow for 1 % (`proto/domain/fencing.ts`). Of controllers too.
 */
export const maxDrift = 0.0045;
/** `/proc/uptime` has hundredths of a second. */
const bootClockStepMs = 10;

/** How far this machine's wall clock is from the world's, at the most, ms either way. */
const maxClockOffsetMs = 5_000;

export class Machine {
  readonly name: string;
  readonly nodeId: string;
  readonly address: string;
  readonly subnet: string;
  /** The slot that stands for this node in every global service: the ordinal of its subnet in the pool, from 1. */
  readonly globalSlot: number;
  readonly capacity: Resources;
  readonly zone: string;
  readonly disk: Disk;
  readonly random: Random;
  readonly guard: Guard;
  /** By task id: until when its lease lasts, on the boot clock. In memory. */
  readonly leaseFiles = new Map<string, number>();
  readonly #clockRate: number;
  readonly #epochMs: number;
  #wallOffsetMs: number;
  #bootedAtMs = 0;
  /** Until then its agent is left alone, because its guard has just been killed: who loses both at once is guarded by nobody. */
  sparedUntilMs = 0;
  readonly containers = new Map<string, SimulatedContainer>();
  readonly attachments = new Map<string, Attachment>();
  readonly files = new Set<string>();
  /** Tasks that have configs or secrets in memory. */
  readonly mounts = new Set<string>();
  /** Attempts that this node made by itself, and the ids they replace: the latest first, last the one it was assigned. */
  readonly ownAttempts = new Map<string, readonly string[]>();
  /** References that have been pulled. */
  readonly images = new Set<string>();
  /** What the network was last made; the kernel keeps it when the agent dies, not when the power does. */
  appliedNetwork: DesiredNetwork | undefined;
  powered = true;
  /** Registry and runtime fail now and then, until this is set. */
  calm = false;
  readonly #time: VirtualTime;
  readonly #events: MachineEvents;
  #exitListener: ((id: string, exit: ContainerExit) => void) | undefined;

  constructor(
    index: number,
    parts: { time: VirtualTime; epochMs: number; random: Random; capacity: Resources; events: MachineEvents },
  ) {
    this.name = `n${String(index)}`;
    this.nodeId = `node${String(index)}`;
    this.address = `192.0.2.${String(index)}`;
    this.subnet = `10.64.${String(index)}.0/24`;
    this.globalSlot = index + 1;
    this.capacity = parts.capacity;
    this.zone = zones[index % zones.length] ?? zones[0];
    this.random = parts.random;
    this.disk = new Disk(parts.random.fork());
    this.#wallOffsetMs = parts.random.between(-maxClockOffsetMs, maxClockOffsetMs);
    this.#clockRate = 1 + parts.random.between(-maxDrift, maxDrift);
    this.#epochMs = parts.epochMs;
    this.guard = new Guard(this, parts.time, parts.random.fork());
    this.#time = parts.time;
    this.#events = parts.events;
  }

  wallMs(): number {
    return this.#epochMs + this.#wallOffsetMs + this.#time.nowMs * this.#clockRate;
  }

  /** Somebody sets the clock, or NTP does. */
  stepWallClock(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** Never steps, and goes on while programs sleep. */
  monoMs(sinceMs: number): number {
    return (this.#time.nowMs - sinceMs) * this.#clockRate;
  }

  bootMs(): number {
    return Math.floor(this.monoMs(this.#bootedAtMs) / bootClockStepMs) * bootClockStepMs;
  }

  /** @returns whether there was anything to kill: a process that runs, or the first one of a container that waits to be started. */
  killByGuard(taskId: string): boolean {
    const container = this.containers.get(taskId);
    if (container === undefined || container.state.kind === 'ended' || !this.leaseFiles.has(taskId)) return false;
    this.kill(container);
    this.#events.killedByGuard(this, taskId);
    return true;
  }

  /** As `cgroup.kill`. */
  kill(container: SimulatedContainer): void {
    const finishedAtMs = Math.round(this.wallMs());
    if (container.state.kind === 'running') {
      this.exit(container, 137, finishedAtMs);
      return;
    }
    if (container.state.kind === 'ended') return;
    const exit: ContainerExit = { exitCode: 137, oomKilled: false, finishedAtMs };
    container.state = { kind: 'ended', exit };
    container.generation += 1;
    this.#exitListener?.(container.id, exit);
  }

  /** The running agent's ear for containers that end. */
  onExit(listener: ((id: string, exit: ContainerExit) => void) | undefined): void {
    this.#exitListener = listener;
  }

  start(container: SimulatedContainer, startedAtMs: number, exitLater: (container: SimulatedContainer) => void): void {
    container.state = { kind: 'running', pid: 1, startedAtMs };
    container.generation += 1;
    this.#events.started(this, container.id);
    exitLater(container);
  }

  /** It is told to end; what comes of that is its program's matter. */
  signal(container: SimulatedContainer): void {
    this.#events.signalled(this, container.id);
  }

  /** The program ends, or is ended. */
  exit(container: SimulatedContainer, exitCode: number, finishedAtMs: number): void {
    if (container.state.kind !== 'running') return;
    const exit: ContainerExit = { exitCode, oomKilled: false, finishedAtMs };
    container.state = { kind: 'ended', startedAtMs: container.state.startedAtMs, exit };
    container.generation += 1;
    this.#exitListener?.(container.id, exit);
  }

  enforce(desired: DesiredNetwork, applied: DesiredNetwork): void {
    this.#events.enforced(this, desired, applied);
    this.appliedNetwork = applied;
  }

  /** Everything that only memory held is gone. */
  cutPower(): void {
    this.powered = false;
    this.#exitListener = undefined;
    for (const container of this.containers.values()) container.generation += 1;
    this.containers.clear();
    this.mounts.clear();
    this.appliedNetwork = undefined;
    this.leaseFiles.clear();
    this.guard.cutPower();
  }

  restorePower(): void {
    this.powered = true;
    this.#bootedAtMs = this.#time.nowMs;
  }
}
