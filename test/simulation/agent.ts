/** One run of a node's agent: the real session, assignments, actors and reconciliation on simulated ports, joined as `agent/run.ts` joins them. */
import { createEnforcer } from '../../agent/enforcer.ts';
import type { FencedTasks } from '../../agent/execute/ports.ts';
import { NodeTasks } from '../../agent/execute/node-tasks.ts';
import { loadAssignments } from '../../agent/session/assignments.ts';
import type { Assignments } from '../../agent/session/assignments.ts';
import { startSession } from '../../agent/session/session.ts';
import type { DispatchStream, Session } from '../../agent/session/session.ts';
import type { Clock } from '../../proto/base/clock.ts';
import { monoMs, wallMs } from '../../proto/base/clock.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { FollowedUnit } from '../../agent/session/applied-units.ts';
import { frotaVersion } from '../../proto/base/version.ts';
import type { NodeFacts } from '../../proto/domain/node.ts';
import { Life } from './life.ts';
import type { Machine } from './machine.ts';
import { nodePorts } from './node-ports.ts';
import type { PortWorld } from './node-ports.ts';
import type { Random } from './random.ts';

/** No service of the simulation is fenced yet. */
const noFencedTasks: FencedTasks = {
  holds: () => false,
  hasEnded: () => false,
  isGuarded: () => false,
  arm: () => Promise.resolve(),
  release: () => Promise.resolve(),
};

export interface AgentParts {
  readonly machine: Machine;
  readonly world: PortWorld;
  readonly random: Random;
  readonly logger: (who: string, isAlive: () => boolean) => Logger;
  /** A call to the controller's address. */
  readonly open: (life: Life, signal: AbortSignal) => DispatchStream;
  /** The agent's thread for heartbeats knows its controller from now on. */
  readonly welcomed: (life: Life, intervalMs: number) => void;
  /** It ended by itself: a bug. */
  readonly crashed: (error: unknown) => void;
}

export interface Agent {
  readonly life: Life;
  /** A controller has told this run all that its node is to have. */
  readonly confirmed: () => boolean;
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
      now: () => ({ monoMs: monoMs(world.time.nowMs - startedMs), wallMs: wallMs(machine.wallMs(world.epochMs)) }),
    };
    this.#bootId = Uint8Array.from({ length: 16 }, () => parts.random.int(0, 255));
  }

  get confirmed(): boolean {
    return this.#synced;
  }

  async run(): Promise<void> {
    const { machine, world } = this.#parts;
    const life = this.#life;
    const journal = machine.disk.journal(life);
    const assignments = await loadAssignments(journal, this.#logger);
    this.#assignments = assignments;
    if (assignments.self() === undefined) await this.#firstWelcome();
    const ports = nodePorts(machine, life, world);
    const enforcer = createEnforcer(async () => {
      const unit = assignments.network();
      if (unit === undefined) return false;
      const services = assignments.services();
      const revisions = assignments.heldServices();
      await ports.files.refresh(services);
      await ports.network.apply({ network: unit, services });
      this.#inForce = revisions;
      this.#session?.applied(revisions);
      return true;
    }, this.#logger);
    this.#closeEnforcer = () => enforcer.close();
    const tasks = new NodeTasks({
      ...ports,
      leases: noFencedTasks,
      journal,
      clock: this.#clock,
      logger: this.#logger,
      networkReady: () => enforcer.ready,
      onStatus: (status) => {
        this.#session?.report(status);
      },
    });
    this.#tasks = tasks;
    await ports.images.sweep();
    enforcer.wake();
    await tasks.adopt(assignments.tasks());
    this.#logger.info({ tasks: tasks.statuses().length }, 'node is up');
    const session = this.#connect();
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
    await this.#closeEnforcer();
    await this.#tasks?.close();
    await this.#session?.close();
  }

  /** The kernel closes its sockets. The rest is for this process's memory: nothing of it reaches the world any more. */
  abandon(): void {
    void this.#session?.close();
    void this.#tasks?.close();
    void this.#closeEnforcer();
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
      onWelcome: (welcome) => {
        if (this.#life.alive) welcomed(this.#life, welcome.heartbeatIntervalMs);
        this.#onWelcome();
        return Promise.resolve();
      },
      onUnit: (key) => this.#onUnit(key),
      onOpen: () => undefined,
      onLivenessPlan: () => undefined,
      onLease: () => undefined,
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
