/** One run of a node's agent: the real session, assignments, actors and reconciliation on simulated ports, joined as `agent/run.ts` joins them. */
import { createEnforcer, every } from '../../agent/enforcer.ts';
import type { Enforcer } from '../../agent/enforcer.ts';
import { LocalRestarts } from '../../agent/execute/local-restarts.ts';
import { NodeTasks } from '../../agent/execute/node-tasks.ts';
import { TaskLeases } from '../../agent/fencing/task-leases.ts';
import { loadAssignments } from '../../agent/session/assignments.ts';
import type { Assignments } from '../../agent/session/assignments.ts';
import { startSession } from '../../agent/session/session.ts';
import type { DispatchStream, Session } from '../../agent/session/session.ts';
import type { Clock } from '../../proto/base/clock.ts';
import { monoMs, wallMs } from '../../proto/base/clock.ts';
import type { Logger } from '../../proto/base/log.ts';
import { nodesOf, reroute } from '../../agent/reroute.ts';
import type { FollowedUnit } from '../../agent/session/applied-units.ts';
import { frotaVersion } from '../../proto/base/version.ts';
import type { NodeNetwork } from '../../agent/network/network.ts';
import type { NodeFacts } from '../../proto/domain/node.ts';
import { guardOf, leaseFilesOf } from './guard.ts';
import { Life } from './life.ts';
import type { Machine } from './machine.ts';
import { nodePorts } from './node-ports.ts';
import type { PortWorld } from './node-ports.ts';
import { SimulatedPeers } from './peers.ts';
import type { PeersParts } from './peers.ts';
import type { Random } from './random.ts';

export interface AgentParts {
  readonly machine: Machine;
  readonly world: PortWorld;
  readonly random: Random;
  readonly logger: (who: string, isAlive: () => boolean) => Logger;
  /** A call to the controller's address. */
  readonly open: (life: Life, signal: AbortSignal) => DispatchStream;
  /** The agent's thread for heartbeats knows its controller from now on. */
  readonly welcomed: (life: Life, intervalMs: number) => void;
  /** It follows a controller of an older epoch than it has seen: a bug. */
  readonly followsStale: (what: string) => void;
  readonly newId: () => string;
  /** Absent: in this run nobody probes his peers. */
  readonly peers: Pick<PeersParts, 'peers' | 'probe'> | undefined;
  /** It ended by itself: a bug. */
  readonly crashed: (error: unknown) => void;
}

/** As the agent's option has it by default. */
const localRestartAfterMs = 5_000;
/** As in `agent/run.ts`. */
const repairIntervalMs = 30_000;

export interface Agent {
  readonly life: Life;
  /** A controller has told this run all that its node is to have. */
  readonly confirmed: () => boolean;
  /** Its parts are there: it watches over what runs. */
  readonly isUp: () => boolean;
  /** Of the controller that spoke to it last, and the largest that it has ever been told. */
  readonly epochs: () => { readonly told: number; readonly largest: number };
  /** As SIGTERM: parts are closed one after the other, containers keep running. */
  stop(): Promise<void>;
  /** As SIGKILL. */
  kill(): void;
}

export function startAgent(parts: AgentParts): Agent {
  const life = new Life(parts.machine.name, parts.world.time, parts.random.fork());
  const logger = parts.logger(parts.machine.name, () => life.alive);
  const running = new RunningAgent(parts, life, logger);
  running.run().catch((error: unknown) => {
    if (life.alive) parts.crashed(error);
  });
  return {
    life,
    confirmed: () => running.confirmed,
    isUp: () => running.isUp,
    epochs: () => running.epochs,
    stop: async () => {
      await running.close();
      life.end();
    },
    kill: () => {
      life.end();
      running.abandon();
    },
  };
}

class RunningAgent {
  readonly #parts: AgentParts;
  readonly #life: Life;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #bootId: Uint8Array;
  #assignments: Assignments | undefined;
  #session: Session | undefined;
  #tasks: NodeTasks | undefined;
  #leases: TaskLeases | undefined;
  #local: LocalRestarts | undefined;
  readonly #ended = new AbortController();
  #isUp = false;
  #epochs = { told: 0, largest: 0 };
  #closeEnforcer: () => Promise<void> = () => Promise.resolve();
  #onUnit: (key: string) => Promise<void> = () => Promise.resolve();
  #onSynced: () => Promise<void> = () => Promise.resolve();
  #onWelcome: () => void = () => undefined;
  #inForce: readonly FollowedUnit[] = [];
  #synced = false;
  #closed = false;

  constructor(parts: AgentParts, life: Life, logger: Logger) {
    const { machine, world } = parts;
    this.#parts = parts;
    this.#life = life;
    this.#logger = logger;
    const startedMs = world.time.nowMs;
    this.#clock = {
      now: () => ({ monoMs: monoMs(machine.monoMs(startedMs)), wallMs: wallMs(machine.wallMs()) }),
    };
    this.#bootId = Uint8Array.from({ length: 16 }, () => parts.random.int(0, 255));
  }

  get confirmed(): boolean {
    return this.#synced;
  }

  get isUp(): boolean {
    return this.#isUp && !this.#closed;
  }

  get epochs(): { readonly told: number; readonly largest: number } {
    return this.#epochs;
  }

  async run(): Promise<void> {
    const { machine, world } = this.#parts;
    const life = this.#life;
    const journal = machine.disk.journal(life);
    const assignments = await loadAssignments(journal, this.#logger);
    this.#assignments = assignments;
    this.#epochs = { told: 0, largest: assignments.self()?.epoch ?? 0 };
    if (assignments.self() === undefined) await this.#firstWelcome();
    const ports = nodePorts(machine, life, world);
    const peers = this.#openPeers(ports.network);
    const enforcer = createEnforcer(async () => {
      const unit = assignments.network();
      if (unit === undefined) return false;
      const units = assignments.services();
      const services = this.#local?.services(units) ?? units;
      const revisions = assignments.heldServices();
      await ports.files.refresh(services);
      await ports.network.apply({ network: unit, services });
      this.#inForce = revisions;
      this.#session?.applied(revisions);
      peers?.setUsed(nodesOf(services).filter((nodeId) => nodeId !== machine.nodeId));
      return true;
    }, this.#logger);
    this.#closeEnforcer = () => enforcer.close();
    const tasks = new NodeTasks({
      ...ports,
      leases: this.#openLeases(assignments),
      journal,
      clock: this.#clock,
      logger: this.#logger,
      networkReady: () => enforcer.ready,
      onStatus: (status) => {
        this.#session?.report(status);
        const own = this.#tasks?.localAttempt(status.taskId);
        if (own !== undefined) machine.ownAttempts.set(status.taskId, own.replaces);
        this.#local?.noticed(status);
      },
    });
    this.#tasks = tasks;
    await ports.images.sweep();
    enforcer.wake();
    await tasks.adopt(assignments.tasks());
    this.#isUp = true;
    const { signal } = this.#ended;
    void every(repairIntervalMs, { signal, logger: this.#logger, what: 'repair of the network' }, () =>
      ports.network.repair(),
    );
    this.#logger.info({ tasks: tasks.statuses().length }, 'node is up');
    const session = this.#connect();
    this.#local = this.#startLocalRestarts(session, tasks, enforcer);
    this.#onUnit = async (key) => {
      const assigned = assignments.tasks();
      if (key !== 'tasks') enforcer.wake();
      else if (assigned !== undefined) await tasks.assign(assigned);
    };
    this.#onSynced = () => {
      tasks.confirm();
      return Promise.resolve();
    };
    for (const status of tasks.statuses()) session.report(status);
    await this.#onUnit('tasks');
    if (this.#synced) await this.#onSynced();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#ended.abort();
    await this.#closeEnforcer();
    await this.#local?.close();
    await this.#tasks?.close();
    await this.#leases?.close();
    await this.#session?.close();
  }

  /** The kernel closes its sockets. The rest is for this process's memory: nothing of it reaches the world any more. */
  abandon(): void {
    this.#ended.abort();
    void this.#session?.close();
    void this.#local?.close();
    void this.#tasks?.close();
    void this.#leases?.close();
    void this.#closeEnforcer();
  }

  #openPeers(network: NodeNetwork): SimulatedPeers | undefined {
    const { peers, world } = this.#parts;
    if (peers === undefined) return undefined;
    return new SimulatedPeers({
      life: this.#life,
      time: world.time,
      ...peers,
      silent: (nodeIds) => {
        world.tally.add(nodeIds.size > 0 ? 'reroutes around silent nodes' : 'reroutes that ended');
        reroute(network, nodeIds, this.#logger);
      },
    });
  }

  #startLocalRestarts(session: Session, tasks: NodeTasks, enforcer: Enforcer): LocalRestarts {
    return new LocalRestarts({
      tasks,
      nodeId: this.#parts.machine.nodeId,
      cutOffForMs: () => session.cutOffForMs(),
      afterMs: localRestartAfterMs,
      onEndpoints: () => {
        enforcer.wake();
      },
      newId: this.#parts.newId,
      clock: this.#clock,
      logger: this.#logger,
    });
  }

  /** As `agent/open-leases.ts` joins them. */
  #openLeases(assignments: Assignments): TaskLeases {
    const { machine, world } = this.#parts;
    const life = this.#life;
    const leases = new TaskLeases({
      files: leaseFilesOf(machine, life),
      guard: guardOf(machine, life, world.tally),
      assigned: () => assignments.tasks() ?? [],
      ask: (number) => {
        const asked = life.alive && this.#session?.askLeases(number) === true;
        if (asked) world.tally.add('leases asked for');
        return asked;
      },
      kill: (taskId) =>
        life.call(5, () => {
          const container = machine.containers.get(taskId);
          if (container !== undefined) machine.kill(container);
        }),
      bootMs: () => machine.bootMs(),
      logger: this.#logger,
    });
    this.#leases = leases;
    return leases;
  }

  async #firstWelcome(): Promise<void> {
    const welcome = new Promise<void>((resolve) => {
      this.#onWelcome = resolve;
    });
    this.#connect();
    await welcome;
  }

  #connect(): Session {
    if (this.#session !== undefined) return this.#session;
    const { machine, world, welcomed } = this.#parts;
    const assignments = this.#assignments;
    if (assignments === undefined) throw new Error('connected before the journal was read');
    this.#session = startSession({
      open: (signal) => this.#parts.open(this.#life, signal),
      assignments,
      bootId: this.#bootId,
      facts: () => this.#life.call(1, () => factsOf(machine)),
      statuses: () => this.#tasks?.statuses() ?? [],
      localAttempt: (taskId) => this.#tasks?.localAttempt(taskId),
      onUnwanted: async (taskIds) => this.#tasks?.refuse(taskIds),
      onWelcome: (welcome) => {
        const { epoch } = welcome;
        this.#epochs = { told: epoch, largest: Math.max(epoch, this.#epochs.largest) };
        const { largest } = this.#epochs;
        if (this.#life.alive && epoch < largest)
          this.#parts.followsStale(`epoch ${String(epoch)}, and has seen ${String(largest)}`);
        if (this.#life.alive) welcomed(this.#life, welcome.heartbeatIntervalMs);
        this.#onWelcome();
        return Promise.resolve();
      },
      onUnit: (key) => this.#onUnit(key),
      onOpen: () => undefined,
      onLivenessPlan: () => undefined,
      onLease: (grant) => {
        this.#leases?.granted(grant);
      },
      onSynced: async () => {
        this.#synced = true;
        await this.#onSynced();
      },
      clock: this.#clock,
      random: () => this.#parts.random.next(),
      logger: this.#logger,
    });
    this.#session.applied(this.#inForce);
    world.tally.add('agent starts');
    return this.#session;
  }
}

function factsOf(machine: Machine): NodeFacts {
  return {
    nodeId: machine.nodeId,
    address: machine.address,
    livenessPort: 7403,
    capacity: machine.capacity,
    architecture: 'amd64',
    os: 'linux',
    agentVersion: frotaVersion,
  };
}
