/** The whole cluster of one run, and what can be done to it. */
import type { AgentMessage, ControllerMessage } from '../../proto/codec/dispatch.ts';
import { encodeNode, encodeClusterRecord } from '../../proto/codec/records.ts';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { Availability } from '../../proto/domain/node.ts';
import type { DesiredNetwork } from '../../agent/network/network.ts';
import type { DispatchStream } from '../../agent/session/session.ts';
import { clusterKey, nodeKey } from '../../controller/store/keys.ts';
import { startMs, MiB } from '../builders/domain.ts';
import { startAgent } from './agent.ts';
import type { Agent } from './agent.ts';
import { clusterSettings, Controller } from './controller.ts';
import type { AgentStream } from './controller.ts';
import type { Life } from './life.ts';
import { Machine } from './machine.ts';
import { downCodec, upCodec } from './messages.ts';
import { fairWeather, Network } from './network.ts';
import { People } from './people.ts';
import type { Random } from './random.ts';
import { fairStore, SimulatedStore } from './simulated-store.ts';
import { Stream } from './stream.ts';
import { Tally } from './tally.ts';
import type { Trace } from './trace.ts';
import type { VirtualTime } from './virtual-time.ts';
import { Witness } from './witness.ts';

/** The first property that did not hold. */
export interface Violation {
  readonly property: string;
  readonly why: string;
  readonly what: string;
  readonly atMs: number;
}

/** The wall time at which a run begins. */
export const epochMs = startMs;
/** A supervisor starts a program again after so long, ms. */
const supervisorMs = { min: 100, max: 1_500 };
/** A caller's attempt to connect through a cut ends after so long, ms. */
const connectTimeoutMs = { min: 1_000, max: 5_000 };
const retriesConnectingMs = 300;

export class World {
  readonly time: VirtualTime;
  readonly random: Random;
  readonly trace: Trace;
  readonly tally = new Tally();
  readonly network: Network;
  readonly store: SimulatedStore;
  readonly people: People;
  readonly machines: readonly Machine[];
  readonly agents = new Map<string, Agent>();
  /** The program of each agent's thread for heartbeats: what it knows of its controller. */
  readonly #heartbeats = new Map<Life, Controller>();
  readonly streams = new Set<AgentStream>();
  readonly #witness: Witness;
  /** Controllers that are alive: the newest last; it is the one that answers at the cluster's address. */
  controllers: Controller[] = [];
  violation: Violation | undefined;
  /** Whether agents probe their peers in this run: it costs as much as all the rest. */
  readonly #probesPeers: boolean;
  #controllerCount = 0;
  #ids = 0;

  constructor(parts: { time: VirtualTime; random: Random; trace: Trace; nodes: number }) {
    const { time, random, trace } = parts;
    this.time = time;
    this.random = random;
    this.trace = trace;
    this.#probesPeers = random.chance(0.4);
    this.network = new Network(time, random.fork(), this.tally);
    this.store = new SimulatedStore({
      random: random.fork(),
      tally: this.tally,
      nowMs: () => time.nowMs,
      committed: (commit) => {
        this.#witness.committed(commit);
        this.people.look(commit);
      },
      kill: (life) => {
        this.controllers.find((controller) => controller.life === life)?.kill();
      },
    });
    this.people = new People({
      random: random.fork(),
      tally: this.tally,
      store: this.store,
      controller: () => (random.chance(0.9) ? this.front() : random.pickAny(this.controllers)),
      note: (what) => {
        trace.note('people', what);
      },
      violated: (property, what) => {
        this.fail(property, what);
      },
    });
    this.#witness = new Witness({
      time,
      trace,
      tally: this.tally,
      stored: () => this.store.snapshot(),
      machines: () => this.machines,
      confirmed: (nodeId) => this.agents.get(nodeId)?.confirmed() === true,
      epochs: (nodeId) => this.agents.get(nodeId)?.epochs() ?? { told: 0, largest: 0 },
      readySinceMs: (nodeId) => this.front()?.liveness.readySinceMs(nodeId),
      violated: (property, what) => {
        this.fail(property, what);
      },
    });
    this.machines = Array.from({ length: parts.nodes }, (_, index) => {
      const capacity = {
        cpuMillis: random.pick([500, 1_000, 2_000]),
        memoryBytes: random.pick([256, 512, 1_024]) * MiB,
      };
      const events = {
        started: (machine: Machine, taskId: string) => {
          this.#witness.started(machine, taskId);
        },
        enforced: (machine: Machine, desired: DesiredNetwork, applied: DesiredNetwork) => {
          this.#witness.enforced(machine, desired, applied);
        },
        killedByGuard: (machine: Machine, taskId: string) => {
          this.tally.add('tasks killed by the guard');
          this.trace.note(machine.name, `guard kills ${taskId}`);
        },
        signalled: (machine: Machine, taskId: string) => {
          this.#witness.signalled(machine, taskId);
        },
      };
      return new Machine(index + 1, { time, epochMs, random: random.fork(), capacity, events });
    });
  }

  /** The cluster as it is when all nodes have joined and nothing has run yet. */
  async seed(): Promise<void> {
    const cluster = encodeClusterRecord({ ...clusterSettings, secret: new Uint8Array(32), epoch: 1 });
    await this.store.seed([
      { compares: [], operations: [{ kind: 'put', key: clusterKey, value: cluster }] },
      ...this.machines.map((machine) => ({
        compares: [],
        operations: [{ kind: 'put' as const, key: nodeKey(machine.nodeId), value: nodeRecord(machine, 'active') }],
      })),
    ]);
    this.startController();
    for (const machine of this.machines) this.startAgent(machine);
  }

  fail({ name, why }: { name: string; why: string }, what: string): void {
    if (this.violation !== undefined) return;
    this.violation = { property: name, why, what, atMs: this.time.nowMs };
    this.trace.note('world', `violated ${name}: ${what}`);
  }

  /** What has happened so far that people would call restless. */
  stirrings(): readonly string[] {
    return this.#witness.stirrings();
  }

  front(): Controller | undefined {
    return this.controllers.at(-1);
  }

  supervisorMs(): number {
    return this.random.between(supervisorMs.min, supervisorMs.max);
  }

  /** Nothing fails any more; what was broken is back. */
  becomeCalm(): void {
    for (const machine of this.machines) {
      machine.calm = true;
      machine.disk.full = false;
      this.restorePower(machine);
      this.startAgent(machine);
      void this.setAvailability(machine, 'active');
    }
    this.network.weather = fairWeather;
    this.store.weather = fairStore;
    for (const old of this.controllers.slice(0, -1)) old.kill();
    if (this.controllers.length === 0) this.startController();
  }

  // Controllers

  startController(): void {
    this.#controllerCount += 1;
    const name = `c${String(this.#controllerCount)}`;
    const controller: Controller = new Controller({
      name,
      time: this.time,
      epochMs,
      random: this.random.fork(),
      store: this.store,
      newId: () => `id${String((this.#ids += 1))}`,
      logger: this.trace.logger(name, () => controller.life.alive),
      note: (what) => {
        this.trace.note(name, what);
        if (/ is (ready|suspect|unreachable|down)/.test(what)) this.#witness.stirred(what);
      },
      probe: (from, nodeId) => {
        this.#probe(from, nodeId);
      },
      ask: (from, peerId, aboutId) => {
        this.#askPeer(from, peerId, aboutId);
      },
      tally: this.tally,
    });
    this.controllers.push(controller);
    this.tally.add('controller starts');
    controller.life.onEnd(() => {
      this.trace.note(name, 'is dead');
      this.controllers = this.controllers.filter((one) => one !== controller);
      // Another may have been started beside it already.
      this.time.after(this.supervisorMs(), () => {
        if (this.controllers.length === 0) this.startController();
        return undefined;
      });
    });
    controller.start().catch((error: unknown) => {
      if (!controller.life.alive) return;
      this.trace.note(name, `could not start: ${describeError(error)}`);
      controller.kill();
    });
  }

  #probe(from: Controller, nodeId: string): void {
    const machine = this.machines.find((one) => one.nodeId === nodeId);
    if (machine === undefined) return;
    this.network.datagram(from.name, machine.name, () => {
      const answers = this.#answersProbes(nodeId);
      if (!answers) this.tally.add('probes refused');
      this.network.datagram(machine.name, from.name, () =>
        answers ? from.liveness.heard(nodeId, false) : from.liveness.refused(nodeId),
      );
      return 'quiet';
    });
  }

  /** The thread for heartbeats is there; where it is not, the host refuses. */
  #answersProbes(nodeId: string): boolean {
    const life = this.agents.get(nodeId)?.life;
    return life?.alive === true && this.#heartbeats.has(life);
  }

  /** The peer probes the node once, and tells the controller of an answer. */
  #askPeer(from: Controller, peerId: string, aboutId: string): void {
    const [peer, about] = [peerId, aboutId].map((id) => this.machines.find(({ nodeId }) => nodeId === id)?.name);
    if (peer === undefined || about === undefined) return;
    const { network } = this;
    network.datagram(from.name, peer, () => {
      if (!this.#answersProbes(peerId)) return 'quiet';
      network.datagram(peer, about, () => {
        if (!this.#answersProbes(aboutId)) return 'quiet';
        network.datagram(about, peer, () => {
          network.datagram(peer, from.name, () => {
            this.tally.add('peers that told of a node');
            return from.liveness.peerHeard(aboutId);
          });
          return 'quiet';
        });
        return 'quiet';
      });
      return 'quiet';
    });
  }

  #probePeer(machine: Machine, nodeId: string, heard: (what: 'answered' | 'refused') => void): void {
    const peer = this.machines.find((one) => one.nodeId === nodeId);
    if (peer === undefined) return;
    this.network.datagram(machine.name, peer.name, () => {
      const what = this.#answersProbes(nodeId) ? 'answered' : 'refused';
      this.network.datagram(peer.name, machine.name, () => {
        heard(what);
        return 'quiet';
      });
      return 'quiet';
    });
  }

  // Agents

  startAgent(machine: Machine): void {
    if (!machine.powered || this.agents.get(machine.nodeId)?.life.alive === true) return;
    const agent = startAgent({
      machine,
      world: { time: this.time, tally: this.tally },
      random: this.random.fork(),
      logger: (who, isAlive) => this.trace.logger(who, isAlive),
      open: (life, signal) => this.#open(machine, life, signal),
      welcomed: (life, intervalMs) => {
        this.#welcomed(machine, life, intervalMs);
      },
      peers: this.#probesPeers
        ? {
            peers: this.machines.flatMap(({ nodeId }) => (nodeId === machine.nodeId ? [] : [nodeId])),
            probe: (nodeId, heard) => {
              this.#probePeer(machine, nodeId, heard);
            },
          }
        : undefined,
      newId: () => `own${String((this.#ids += 1)).padStart(9, '0')}`,
      followsStale: (what) => {
        const why = 'a controller that was replaced may want what its successor has decided against';
        this.fail({ name: 'stale-epoch-is-refused', why }, `${machine.name} follows a controller of ${what}`);
      },
      crashed: (error) => {
        const stack = error instanceof Error ? error.stack : '';
        const why = 'an agent goes on whatever happens: it is the only one who can stop what runs on its node';
        this.fail({ name: 'agents-never-crash', why }, `${machine.name}: ${describeError(error)} ${String(stack)}`);
      },
    });
    this.agents.set(machine.nodeId, agent);
    agent.life.onEnd(() => {
      machine.onExit(undefined);
      this.network.setFrozen(machine.name, false);
      this.#heartbeats.delete(agent.life);
      this.trace.note(machine.name, 'agent is gone');
    });
  }

  /** SIGKILL, and a supervisor that starts it again after so long. */
  killAgent(machine: Machine, downMs: number): void {
    this.agents.get(machine.nodeId)?.kill();
    this.time.after(downMs, () => {
      this.startAgent(machine);
      return undefined;
    });
  }

  /** As SIGSTOP of its process, its thread for heartbeats included; containers and guard go on. */
  freezeAgent(machine: Machine): () => void {
    const life = this.agents.get(machine.nodeId)?.life;
    if (life?.alive !== true || life.frozen) return () => undefined;
    life.freeze();
    this.network.setFrozen(machine.name, true);
    return () => {
      if (!life.alive || !life.frozen) return;
      this.network.setFrozen(machine.name, false);
      life.thaw();
    };
  }

  async stopAgent(machine: Machine, downMs: number): Promise<void> {
    const agent = this.agents.get(machine.nodeId);
    if (agent?.life.alive !== true || agent.life.frozen) return;
    const controller = this.#heartbeats.get(agent.life);
    // Its last heartbeat says so; then its thread is gone.
    if (controller !== undefined) this.#beat(machine, this.#addressed(controller), true);
    this.#heartbeats.delete(agent.life);
    await agent.stop();
    this.time.after(downMs, () => {
      this.startAgent(machine);
      return undefined;
    });
  }

  cutPower(machine: Machine, options: { readonly forgets: boolean }): void {
    if (!machine.powered) return;
    this.network.setPower(machine.name, false);
    for (const stream of [...this.streams]) if (stream.hosts.client === machine.name) stream.breakEnd('client');
    this.agents.get(machine.nodeId)?.kill();
    machine.cutPower();
    if (!options.forgets) return;
    this.tally.add('journal writes that a disk forgot', machine.disk.loseLastWrites());
    this.#witness.forgot(machine);
  }

  restorePower(machine: Machine): void {
    if (machine.powered) return;
    machine.restorePower();
    this.network.setPower(machine.name, true);
    this.time.after(this.supervisorMs(), () => {
      this.startAgent(machine);
      return undefined;
    });
  }

  async setAvailability(machine: Machine, availability: Availability): Promise<void> {
    const stored = this.store.snapshot().nodes.get(machine.nodeId);
    if (stored === undefined || stored.value.availability === availability) return;
    this.trace.note('people', `${machine.name} is ${availability}`);
    const key = nodeKey(machine.nodeId);
    await this.store.seed([
      {
        compares: [{ key, modRevision: stored.modRevision }],
        operations: [{ kind: 'put', key, value: nodeRecord(machine, availability) }],
      },
    ]);
  }

  #welcomed(machine: Machine, life: Life, intervalMs: number): void {
    const controller = [...this.streams].find(
      (stream) => stream.hosts.client === machine.name && !stream.isBroken('client'),
    )?.hosts.server;
    const known = this.controllers.find(({ name }) => name === controller) ?? this.front();
    if (known === undefined) return;
    const beats = this.#heartbeats.has(life);
    this.#heartbeats.set(life, known);
    if (!beats) this.#beatLater(machine, life, intervalMs);
  }

  #beatLater(machine: Machine, life: Life, intervalMs: number): void {
    const controller = this.#heartbeats.get(life);
    if (!life.alive || controller === undefined) return;
    this.#beat(machine, this.#addressed(controller), false);
    this.time.after(intervalMs, () => {
      this.#beatLater(machine, life, intervalMs);
      return 'quiet';
    });
  }

  /** Who hears what is sent to this controller: the next one on its address, when it is dead. */
  #addressed(controller: Controller): Controller | undefined {
    return controller.life.alive ? controller : this.front();
  }

  #beat(machine: Machine, to: Controller | undefined, restarting: boolean): void {
    if (to === undefined) return;
    this.network.datagram(machine.name, to.name, () => to.liveness.heard(machine.nodeId, restarting));
  }

  #open(machine: Machine, life: Life, signal: AbortSignal): DispatchStream {
    // Where an old controller still answers, some agent finds it.
    const target = this.random.chance(0.8) ? this.front() : this.random.pickAny(this.controllers);
    const stream: AgentStream = new Stream<AgentMessage, ControllerMessage>(
      {
        time: this.time,
        network: this.network,
        random: this.random,
        tally: this.tally,
        note: (to, what) => {
          this.trace.note(to, what);
        },
      },
      { client: machine.name, server: target?.name ?? 'nobody' },
      { up: upCodec, down: downCodec },
    );
    this.streams.add(stream);
    const cancel = (): void => {
      stream.finish('client');
    };
    signal.addEventListener('abort', cancel, { once: true });
    stream.onBroken('client', () => {
      signal.removeEventListener('abort', cancel);
      this.streams.delete(stream);
    });
    const givesUpAtMs = this.time.nowMs + this.random.between(connectTimeoutMs.min, connectTimeoutMs.max);
    this.#dial(stream, { machine, life, target, givesUpAtMs });
    return stream.client;
  }

  #dial(
    stream: AgentStream,
    call: { machine: Machine; life: Life; target: Controller | undefined; givesUpAtMs: number },
  ): void {
    const { machine, life, target, givesUpAtMs } = call;
    this.time.after(this.network.latencyMs() * 2, () => {
      if (!life.alive || stream.isBroken('client')) return 'quiet';
      if (target?.core === undefined || !target.life.alive) {
        stream.breakEnd('client', new FrotaError('unavailable', 'connection refused'));
        return undefined;
      }
      const open = this.network.isOpen(machine.name, target.name) && this.network.isOpen(target.name, machine.name);
      if (open) target.serve(machine.nodeId, stream);
      else if (this.time.nowMs >= givesUpAtMs) {
        stream.breakEnd('client', new FrotaError('unavailable', 'no connection within the time-out'));
      } else {
        this.time.after(retriesConnectingMs, () => {
          this.#dial(stream, call);
          return 'quiet';
        });
        return 'quiet';
      }
      return undefined;
    });
  }
}

function nodeRecord({ nodeId, name, subnet, zone }: Machine, availability: Availability): Uint8Array {
  return encodeNode({ id: nodeId, name, availability, subnet, joinedAtMs: epochMs, labels: { zone } });
}
