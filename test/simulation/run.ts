/** One run: a cluster, people, faults for a while, then calm. The same seed gives the same run, event by event. */
import { describeError } from '../../proto/base/errors.ts';
import { installAmbient, settleAll } from './ambient.ts';
import { calmProperties } from './calm.ts';
import { longestMonitorMs } from './declarations.ts';
import { Faults } from './faults.ts';
import { describeWorld } from './picture.ts';
import { Random } from './random.ts';
import type { Tally } from './tally.ts';
import { Trace } from './trace.ts';
import { VirtualTime } from './virtual-time.ts';
import { epochMs, World } from './world.ts';
import type { Violation } from './world.ts';

export interface Run {
  readonly seed: number;
  /** Of the whole trace: two runs with one digest are one run. */
  readonly digest: string;
  readonly events: number;
  readonly virtualMs: number;
  /** From the last fault to when all was as declared for the rest of the run; 0: it never was. */
  readonly calmAfterMs: number;
  readonly tally: Tally;
  readonly violation: Violation | undefined;
  /** The last part of the trace, and the cluster as it was at the end. */
  readonly tail: readonly string[];
  readonly picture: readonly string[];
}

export interface RunOptions {
  /** Gets every line of the trace. */
  readonly print?: (line: string) => void;
}

const nodes = { min: 1, max: 5 };
/** For how long things go wrong, ms of virtual time. */
const stormMs = { min: 15_000, max: 90_000 };
/** Between two acts of people, ms. */
const meanActMs = { min: 1_500, max: 10_000 };
/**
 * Everything that may still have to happen when the last fault is over fits in here: the brake on mass failures (10 s),
 * the longest back-off (30 s), rolling updates slot by slot, graces of stubborn containers.
 */
const calmWithinMs = 120_000;
/** Then nothing is written for as long as several idle passes of the loop. */
const quietMs = 20_000;
const lookEveryMs = 1_000;
/** The longest `monitor` that is declared, and a pass. */
const judgedWithinMs = longestMonitorMs + 1_000;
const tailLines = 200;

const calmIsReached = {
  name: 'calm-is-reached',
  why: 'a cluster that is left alone must become what was declared, in bounded time',
};
const calmIsQuiet = {
  name: 'calm-is-quiet',
  why: 'a cluster that is what was declared has nothing to write: who writes all the same flaps',
};
const noFlapping = {
  name: 'no-flapping-at-calm',
  why: 'in a cluster at rest nothing starts, stops, is suspected or led elsewhere',
};
const noBugs = { name: 'no-bugs', why: 'nothing that happens to a cluster may end in an error nobody caught' };

export async function runSeed(seed: number, options: RunOptions = {}): Promise<Run> {
  const time = new VirtualTime(settleAll);
  const random = new Random(seed);
  const trace = new Trace(time, options.print);
  const restore = installAmbient(time, random.fork(), epochMs);
  const world = new World({ time, random: random.fork(), trace, nodes: random.int(nodes.min, nodes.max) });
  const uncaught = (error: unknown): void => {
    world.fail(noBugs, describeError(error) + (error instanceof Error ? ` ${String(error.stack)}` : ''));
  };
  process.on('unhandledRejection', uncaught);
  let picture: readonly string[] = [];
  let calmAfterMs = 0;
  try {
    await world.seed();
    await storm(world, random.fork());
    calmAfterMs = await becomeCalm(world);
  } catch (error) {
    uncaught(error);
  } finally {
    if (world.violation !== undefined) picture = describeWorld(world);
    restore();
    for (const agent of world.agents.values()) agent.kill();
    for (const controller of world.controllers) controller.kill();
    await settleAll();
    process.off('unhandledRejection', uncaught);
  }
  const tail = trace.tail(tailLines);
  const { events, nowMs: virtualMs } = time;
  const { tally, violation } = world;
  return { seed, digest: trace.digest(), events, virtualMs, calmAfterMs, tally, violation, tail, picture };
}

async function storm(world: World, random: Random): Promise<void> {
  const untilMs = random.between(stormMs.min, stormMs.max);
  const everyMs = random.between(meanActMs.min, meanActMs.max);
  const faults = new Faults(world, random.fork());
  const act = (): void => {
    world.time.after(random.exponential(everyMs), () => {
      if (world.time.nowMs > untilMs) return 'quiet';
      world.people.act();
      act();
      return undefined;
    });
  };
  act();
  await world.time.runUntil(untilMs, () => world.violation !== undefined);
  faults.stop();
}

/** @returns how long that took, ms. */
async function becomeCalm(world: World): Promise<number> {
  const { time } = world;
  const failed = (): boolean => world.violation !== undefined;
  world.trace.note('world', 'calm begins');
  world.becomeCalm();
  const calmFromMs = time.nowMs;
  const deadlineMs = time.nowMs + calmWithinMs;
  let { revision } = world.store.snapshot();
  let stillSinceMs = time.nowMs;
  for (;;) {
    await time.runUntil(time.nowMs + lookEveryMs, failed);
    if (failed()) return 0;
    const before = revision;
    ({ revision } = world.store.snapshot());
    if (revision !== before) stillSinceMs = time.nowMs;
    const wrong = firstWrong(world);
    // An update goes on beside a slot that has failed for good, and judges its tasks once more when they were watched.
    if (wrong === undefined && time.nowMs - stillSinceMs >= judgedWithinMs) break;
    if (time.nowMs >= deadlineMs) {
      if (wrong === undefined) world.fail(calmIsQuiet, `still written ${String(calmWithinMs)} ms after the last fault`);
      else world.fail(calmIsReached, wrong);
      return 0;
    }
  }
  const stirrings = world.stirrings().length;
  await time.runUntil(time.nowMs + quietMs, failed);
  if (failed()) return 0;
  const later = world.store.snapshot().revision;
  const wrong = firstWrong(world);
  if (wrong !== undefined) world.fail(calmIsReached, `and left again: ${wrong}`);
  if (later !== revision) world.fail(calmIsQuiet, `${String(later - revision)} transactions in ${String(quietMs)} ms`);
  const restless = world.stirrings().slice(stirrings);
  if (restless.length > 0) world.fail(noFlapping, restless.join('; '));
  return stillSinceMs - calmFromMs;
}

function firstWrong(world: World): string | undefined {
  const calm = { stored: world.store.snapshot(), machines: world.machines };
  for (const { name, check } of calmProperties) {
    const wrong = check(calm);
    if (wrong !== undefined) return `${name}: ${wrong}`;
  }
  return undefined;
}
