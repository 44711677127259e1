/** What is done to the cluster while it works. Each run draws the kinds it uses, so that some runs are deep in few of them. */
import { fairStore } from './simulated-store.ts';
import { fairWeather } from './network.ts';
import type { Machine } from './machine.ts';
import type { Random } from './random.ts';
import type { World } from './world.ts';

/** Undoes what is still in force. */
type Heal = () => void;

interface FaultKind {
  readonly name: string;
  readonly weight: number;
  /** Undefined: there was nothing to do it to. */
  readonly inject: (world: World, random: Random) => Heal | undefined;
}

/** Between two faults, ms. */
const meanPauseMs = { min: 400, max: 6_000 };
const kindsAreUsed = 0.6;
/** In this time an agent that lives has noticed that its guard is gone, and has another, ms. */
const guardGoneMs = 1_500;
/** A clock is set right, or wrong; daylight saving done by hand. */
const clockStepsMs = [200, 5_000, 60_000, 3_600_000] as const;

/** Out and in, of what is cut. */
const directions = [
  [true, true],
  [true, true],
  [true, false],
  [false, true],
] as const;

const nothing: Heal = () => undefined;

const machineOf = (world: World, random: Random): Machine | undefined =>
  random.pickAny(world.machines.filter(({ powered }) => powered));

/** One whose agent may be taken from it now. */
const agentOf = (world: World, random: Random): Machine | undefined =>
  random.pickAny(world.machines.filter(({ powered, sparedUntilMs }) => powered && sparedUntilMs <= world.time.nowMs));

/**
 * One whose guard may be killed: the agent that starts another lives, and no lease ends meanwhile. Neither is promised for: that
 * both are killed in one moment, and a guard killed at the moment a lease ends.
 */
const guardedOf = (world: World, random: Random): Machine | undefined =>
  random.pickAny(
    world.machines.filter((machine) => {
      const agent = world.agents.get(machine.nodeId);
      if (agent === undefined || !agent.life.alive || agent.life.frozen || !agent.isUp()) return false;
      const untilMs = Math.min(...machine.leaseFiles.values());
      return machine.guard.runs && machine.leaseFiles.size > 0 && untilMs > machine.bootMs() + guardGoneMs;
    }),
  );

export const faultKinds: readonly FaultKind[] = [
  {
    name: 'power cuts',
    weight: 3,
    inject: (world, random) => {
      const machine = machineOf(world, random);
      if (machine === undefined) return undefined;
      world.cutPower(machine, { forgets: random.chance(0.2) });
      const back = world.time.after(random.between(100, 30_000), () => {
        world.restorePower(machine);
        return undefined;
      });
      return () => {
        back.cancel();
        world.restorePower(machine);
      };
    },
  },
  {
    name: 'agents killed',
    weight: 4,
    inject: (world, random) => {
      const machine = agentOf(world, random);
      if (machine === undefined) return undefined;
      // Mostly a supervisor's moment, sometimes longer than the grace of an agent.
      world.killAgent(machine, random.chance(0.8) ? world.supervisorMs() : random.between(5_000, 20_000));
      return nothing;
    },
  },
  {
    name: 'agents stopped',
    weight: 1,
    inject: (world, random) => {
      const machine = agentOf(world, random);
      if (machine === undefined) return undefined;
      void world.stopAgent(machine, world.supervisorMs());
      return nothing;
    },
  },
  {
    name: 'agents frozen',
    weight: 3,
    inject: (world, random) => {
      const machine = agentOf(world, random);
      return machine === undefined
        ? undefined
        : healLater(world, random.between(100, 15_000), world.freezeAgent(machine));
    },
  },
  {
    name: 'guards killed',
    weight: 2,
    inject: (world, random) => {
      const machine = guardedOf(world, random);
      if (machine === undefined) return undefined;
      machine.guard.end();
      machine.sparedUntilMs = world.time.nowMs + 2 * guardGoneMs;
      return nothing;
    },
  },
  {
    name: 'wall clocks set',
    weight: 2,
    inject: (world, random) => {
      const clock = random.pickAny([...world.machines, ...world.controllers]);
      if (clock === undefined) return undefined;
      clock.stepWallClock(random.pick(clockStepsMs) * (random.chance(0.5) ? 1 : -1));
      return nothing;
    },
  },
  {
    name: 'controllers killed',
    weight: 4,
    inject: (world) => {
      const controller = world.front();
      if (controller === undefined) return undefined;
      controller.kill();
      return nothing;
    },
  },
  {
    name: 'old controllers that write on',
    weight: 2,
    inject: (world, random) => {
      const old = world.front();
      if (old?.core === undefined) return undefined;
      world.startController();
      const end = (): void => {
        old.kill();
      };
      world.time.after(random.between(500, 8_000), () => {
        end();
        return undefined;
      });
      return end;
    },
  },
  {
    name: 'nodes cut off',
    weight: 4,
    inject: (world, random) => {
      const machine = machineOf(world, random);
      return machine === undefined ? undefined : cutOff(world, random, [machine]);
    },
  },
  {
    name: 'datagrams of a node lost',
    weight: 2,
    inject: (world, random) => {
      const machine = machineOf(world, random);
      if (machine === undefined) return undefined;
      const [from, into] = random.pick(directions);
      const heal = world.network.blockDatagrams(machine.name, { from, into });
      return healLater(world, random.between(500, 20_000), heal);
    },
  },
  {
    name: 'nodes cut off from each other',
    weight: 2,
    inject: (world, random) => {
      const machine = machineOf(world, random);
      const other = random.pickAny(world.machines.filter((one) => one !== machine));
      if (machine === undefined || other === undefined) return undefined;
      const [out, into] = random.pick(directions);
      const heals = [
        ...(out ? [world.network.cut(machine.name, other.name)] : []),
        ...(into ? [world.network.cut(other.name, machine.name)] : []),
      ];
      return healLater(world, random.between(100, 15_000), () => {
        for (const heal of heals) heal();
      });
    },
  },
  { name: 'controllers cut off', weight: 1, inject: (world, random) => cutOff(world, random, world.machines) },
  {
    name: 'streams broken at one end',
    weight: 4,
    inject: (world, random) => {
      const stream = random.pickAny([...world.streams]);
      if (stream === undefined) return undefined;
      const [first, second] = random.chance(0.5) ? (['client', 'server'] as const) : (['server', 'client'] as const);
      stream.breakEnd(first);
      world.time.after(random.between(0, 3_000), () => {
        stream.breakEnd(second);
        return undefined;
      });
      return nothing;
    },
  },
  {
    name: 'bad weather on the network',
    weight: 2,
    inject: (world, random) => {
      world.network.weather = {
        loss: random.between(0, 0.4),
        doubling: random.between(0, 0.3),
        slownessMs: random.between(0, 400),
      };
      return healLater(world, random.between(1_000, 15_000), () => {
        world.network.weather = fairWeather;
      });
    },
  },
  {
    name: 'bad days of the store',
    weight: 3,
    inject: (world, random) => {
      const often = (): number => (random.chance(0.5) ? random.between(0, 0.15) : 0);
      world.store.weather = {
        failsBefore: often(),
        failsAfter: often(),
        killsWithin: often(),
        conflicts: 2 * often(),
        forgets: often() / 4,
        slowMs: random.chance(0.3) ? random.between(10, 600) : 3,
      };
      return healLater(world, random.between(1_000, 15_000), () => {
        world.store.weather = fairStore;
      });
    },
  },
  {
    name: 'full disks',
    weight: 1,
    inject: (world, random) => {
      const machine = machineOf(world, random);
      if (machine === undefined) return undefined;
      machine.disk.full = true;
      return healLater(world, random.between(500, 10_000), () => {
        machine.disk.full = false;
      });
    },
  },
  {
    name: 'containers killed',
    weight: 4,
    inject: (world, random) => (endOne(random, world.machines) ? nothing : undefined),
  },
  {
    name: 'nodes drained, paused or activated',
    weight: 2,
    inject: (world, random) => {
      const machine = random.pickAny(world.machines);
      if (machine === undefined) return undefined;
      void world.setAvailability(machine, random.pick(['active', 'active', 'drain', 'pause']));
      return nothing;
    },
  },
];

/** In both directions, or in one. */
function cutOff(world: World, random: Random, machines: readonly Machine[]): Heal {
  const [out, into] = random.pick(directions);
  if (!out || !into) world.tally.add('one-way links');
  const controllers = world.controllers.map(({ name }) => name);
  const heals = machines.flatMap(({ name }) =>
    controllers.flatMap((controller) => [
      ...(out ? [world.network.cut(name, controller)] : []),
      ...(into ? [world.network.cut(controller, name)] : []),
    ]),
  );
  // What ends on a node that is alone for long is the node's own to replace.
  const isLong = random.chance(0.4);
  if (isLong) {
    world.time.after(random.between(0, 10_000), () => {
      // Calm may have come first.
      endOne(
        random,
        machines.filter(({ calm }) => !calm),
      );
      return undefined;
    });
  }
  return healLater(world, isLong ? random.between(7_000, 25_000) : random.between(100, 7_000), () => {
    for (const heal of heals) heal();
  });
}

/** @returns whether anything ran there. */
function endOne(random: Random, machines: readonly Machine[]): boolean {
  const running = machines.flatMap((machine) =>
    [...machine.containers.values()]
      .filter(({ state }) => state.kind === 'running')
      .map((container) => ({ machine, container })),
  );
  const victim = random.pickAny(running);
  if (victim === undefined) return false;
  victim.machine.exit(victim.container, 137, Math.round(victim.machine.wallMs()));
  return true;
}

function healLater(world: World, afterMs: number, heal: Heal): Heal {
  world.time.after(afterMs, () => {
    heal();
    return undefined;
  });
  return heal;
}

/** Does something to the cluster again and again until it is told to stop; then everything is well again. */
export class Faults {
  readonly #world: World;
  readonly #random: Random;
  readonly #kinds: readonly FaultKind[];
  readonly #meanPauseMs: number;
  readonly #heals: Heal[] = [];
  #over = false;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
    this.#kinds = faultKinds.filter(() => random.chance(kindsAreUsed));
    this.#meanPauseMs = random.between(meanPauseMs.min, meanPauseMs.max);
    this.#next();
  }

  stop(): void {
    this.#over = true;
    for (const heal of this.#heals) heal();
  }

  #next(): void {
    this.#world.time.after(this.#random.exponential(this.#meanPauseMs), () => {
      if (this.#over) return 'quiet';
      this.#next();
      const kind = this.#pick();
      if (kind === undefined) return 'quiet';
      this.#world.trace.note('fault', kind.name);
      const heal = kind.inject(this.#world, this.#random);
      if (heal === undefined) return 'quiet';
      this.#world.tally.add(kind.name);
      this.#heals.push(heal);
      return undefined;
    });
  }

  #pick(): FaultKind | undefined {
    const all = this.#kinds.reduce((sum, { weight }) => sum + weight, 0);
    let at = this.#random.between(0, all);
    return this.#kinds.find(({ weight }) => (at -= weight) < 0);
  }
}
