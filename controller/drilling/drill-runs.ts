/** All drills of this controller: at most one at a time, each written down before each of its steps, so that the next controller knows. */
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import { noSuchDrill } from '../../proto/domain/drill.ts';
import type { Drill, DrillPlan } from '../../proto/domain/drill.ts';
import { carryOut, carryOn, DrillClock } from './drill-run.ts';
import { LiveDrill } from './live-drill.ts';
import type { DrillingPorts, Drills } from './ports.ts';

/** A controller that is told to stop still undoes what it has done. */
const closeWithinMs = 3_000;

export class DrillRuns implements Drills {
  readonly #ports: DrillingPorts;
  readonly #clock: DrillClock;
  readonly #closing = new AbortController();
  #live: LiveDrill | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(ports: DrillingPorts) {
    this.#ports = ports;
    this.#clock = new DrillClock(ports.clock);
  }

  /** What an earlier controller has begun is brought to its end. Returns once it is known; the rest goes on beside. */
  async resume(): Promise<void> {
    const drills = await this.#ports.read().catch((error: unknown) => {
      this.#ports.logger.error({ error: describeError(error) }, 'the drills in the store can not be read');
      return [];
    });
    const open = drills.filter(({ state }) => state !== 'ended').at(-1);
    if (open === undefined) return;
    this.#ports.logger.warn({ drill: open.id, state: open.state }, 'a drill was under way; it is brought to its end');
    this.#start(open, carryOn);
  }

  running(): string | undefined {
    return this.#live === undefined || this.#live.drill.state === 'ended' ? undefined : this.#live.drill.id;
  }

  async list(): Promise<readonly Drill[]> {
    const stored = await this.#ports.read();
    const live = this.#live?.drill;
    // In memory it may be a step further.
    return [...stored.map((drill) => (drill.id === live?.id ? live : drill))].reverse();
  }

  async begin(plan: DrillPlan, by: string): Promise<Drill> {
    const running = this.running();
    if (running !== undefined) throw new FrotaError('conflict', `drill ${running} is not over`);
    const drill: Drill = {
      id: this.#ports.newId(),
      by,
      state: 'arming',
      plan,
      startedAtMs: this.#clock.nowMs(),
    };
    const live = this.#start(drill, carryOut);
    return live.drill;
  }

  async *follow(id: string, signal: AbortSignal): AsyncIterable<Drill> {
    if (this.#live?.drill.id === id) {
      yield* this.#live.follow(signal);
      return;
    }
    yield await this.#stored(id);
  }

  async stop(id: string, why: string): Promise<Drill> {
    const live = this.#live;
    if (live?.drill.id !== id) return this.#stored(id);
    live.stop(why);
    return live.ended;
  }

  /** The fault of a drill that runs is undone; its report is the next controller's. */
  async close(): Promise<void> {
    const live = this.#live;
    this.#closing.abort();
    if (live === undefined || live.drill.state === 'ended') return;
    const { stop, id } = live.drill;
    if (stop !== undefined) await this.#ports.tellStop(stop, id, AbortSignal.timeout(closeWithinMs));
    await this.#work;
  }

  #start(drill: Drill, how: typeof carryOut): LiveDrill {
    const live = new LiveDrill(drill);
    this.#live = live;
    this.#work = how({ ports: this.#ports, clock: this.#clock, live, closing: this.#closing.signal }).catch(
      (error: unknown) => {
        this.#ports.logger.error({ drill: drill.id, error: describeError(error) }, 'a drill was left unfinished');
      },
    );
    return live;
  }

  async #stored(id: string): Promise<Drill> {
    const found = (await this.#ports.read()).find((drill) => drill.id === id);
    if (found === undefined) throw noSuchDrill(id);
    return found;
  }
}
