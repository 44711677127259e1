/** Those who use the cluster: they apply, scale and remove stacks and drain nodes, through whatever controller answers. */
import { applyStack } from '../../controller/api/apply.ts';
import { removeStack, scaleServices } from '../../controller/api/stacks.ts';
import type { StackPorts } from '../../controller/api/stacks.ts';
import { canonicalJson } from '../../controller/plan/canonical-json.ts';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { StackSpec } from '../../proto/domain/service.ts';
import { someStack, updated } from './declarations.ts';
import type { Controller } from './controller.ts';
import type { Random } from './random.ts';
import type { Commit, SimulatedStore } from './simulated-store.ts';
import type { Tally } from './tally.ts';

/** What somebody asked for and has no answer to yet. */
interface Request {
  readonly what: string;
  readonly stack: string;
  /** Whether this value of the stack's record is what the request asks for, given the one before it. */
  readonly asksFor: (after: StackSpec | undefined, before: StackSpec | undefined) => boolean;
  /** Every value the stack has had since the request was made, the one at its beginning included. */
  readonly seen: (StackSpec | undefined)[];
}

export interface PeopleParts {
  readonly random: Random;
  readonly tally: Tally;
  readonly store: SimulatedStore;
  readonly controller: () => Controller | undefined;
  readonly note: (what: string) => void;
  readonly violated: (property: { name: string; why: string }, what: string) => void;
}

export const acceptedIsKept = {
  name: 'accepted-is-kept',
  why: 'what a person was told is accepted must be in the store, whole, until somebody asks for something else',
};
export const askedFor = {
  name: 'stacks-change-only-when-asked',
  why: 'nobody but a person may change what is declared',
};

/** Answers of the use-cases to people who ask at a bad moment, or for what can't be. */
const refusals: ReadonlySet<string> = new Set(['conflict', 'unavailable', 'not-found', 'invalid', 'cancelled']);

export class People {
  readonly #parts: PeopleParts;
  readonly #open = new Set<Request>();

  constructor(parts: PeopleParts) {
    this.#parts = parts;
  }

  /** Somebody does something. */
  act(): void {
    const { random, store } = this.#parts;
    const declared = [...store.snapshot().stacks.values()].map(({ value }) => value.spec);
    const known = random.pickAny(declared);
    const dice = random.next();
    if (known === undefined || dice < 0.45) this.#apply(someStack(random), random.chance(0.5));
    else if (dice < 0.8) this.#scale(known);
    else if (dice < 0.9) this.#apply(updated(random, known), false);
    else this.#remove(known.name);
  }

  /** Every stored change of a stack must be what an open request asks for. */
  look(commit: Commit): void {
    for (const name of stacksChanged(commit)) {
      const before = commit.before.stacks.get(name)?.value.spec;
      const after = commit.after.stacks.get(name)?.value.spec;
      for (const request of this.#open) if (request.stack === name) request.seen.push(after);
      if (canonicalJson(before) === canonicalJson(after)) continue;
      const asked = [...this.#open].some((request) => request.stack === name && request.asksFor(after, before));
      if (!asked) this.#parts.violated(askedFor, `${name} became ${canonicalJson(after)}; nobody had asked for it`);
    }
  }

  #apply(spec: StackSpec, twice: boolean): void {
    const asked = withoutDigests(spec);
    const request = {
      what: `apply ${spec.name}`,
      stack: spec.name,
      asksFor: (after: StackSpec | undefined) =>
        after !== undefined && canonicalJson(withoutDigests(after)) === canonicalJson(asked),
    };
    const work = (ports: StackPorts): Promise<unknown> => applyStack(ports, spec, 'ana', new AbortController().signal);
    this.#ask(request, work);
    // Somebody who is impatient, or a second person with the same file.
    if (twice) this.#ask(request, work);
  }

  #scale(spec: StackSpec): void {
    const { random } = this.#parts;
    const service = random.pickAny(spec.services);
    if (service === undefined) return;
    const replicas = random.int(0, 6);
    const scaled = (of: StackSpec): StackSpec => ({
      ...of,
      services: of.services.map((each) => (each.name === service.name ? { ...each, replicas } : each)),
    });
    this.#ask(
      {
        what: `scale ${spec.name}/${service.name} to ${String(replicas)}`,
        stack: spec.name,
        asksFor: (after, before) =>
          before !== undefined && after !== undefined && canonicalJson(after) === canonicalJson(scaled(before)),
      },
      (ports) => scaleServices(ports, [{ stack: spec.name, service: service.name, replicas }], 'ben'),
      // Already of that size: nothing is written.
      (seen) => seen?.services.find(({ name }) => name === service.name)?.replicas === replicas,
    );
  }

  #remove(name: string): void {
    this.#ask({ what: `rm ${name}`, stack: name, asksFor: (after) => after === undefined }, (ports) =>
      removeStack(ports, name),
    );
  }

  #ask(
    asked: Omit<Request, 'seen'>,
    work: (ports: StackPorts) => Promise<unknown>,
    holds: (seen: StackSpec | undefined) => boolean = (seen) => asked.asksFor(seen, seen),
  ): void {
    const { tally, note, store, violated } = this.#parts;
    const controller = this.#parts.controller();
    if (controller?.core === undefined) {
      tally.add('requests nobody answered');
      return;
    }
    // Its own picture may be older by what was written, and not yet answered, a moment ago.
    const shown = [store.snapshot(), controller.core.mirror.snapshot()];
    const request: Request = { ...asked, seen: shown.map(({ stacks }) => stacks.get(asked.stack)?.value.spec) };
    this.#open.add(request);
    tally.add('requests of people');
    // With the controller dies what it was asked; what it has written by then stays.
    controller.life.onEnd(() => this.#open.delete(request));
    work(controller.core.stacks)
      .then(
        () => {
          if (!controller.life.alive) return;
          note(`accepted: ${request.what}`);
          if (!request.seen.some(holds)) violated(acceptedIsKept, `${request.what} was accepted and is not stored`);
        },
        (error: unknown) => {
          if (!controller.life.alive) return;
          note(`refused: ${request.what}: ${describeError(error)}`);
          if (refusals.has(FrotaError.from(error).code)) return;
          violated(
            { name: 'no-bugs', why: 'what a person can do never ends in an internal error' },
            describeError(error),
          );
        },
      )
      .finally(() => this.#open.delete(request));
  }
}

function stacksChanged({ batch }: Commit): readonly string[] {
  return batch.changes.flatMap((change) => {
    const key = change.kind === 'put' ? change.entry.key : change.key;
    return key.startsWith('stacks/') ? [key.slice('stacks/'.length)] : [];
  });
}

/** Digests are filled in on the way; everything else must be stored as it was asked for. */
function withoutDigests(spec: StackSpec): StackSpec {
  const services = spec.services.map((service) => ({
    ...service,
    template: { ...service.template, image: { ...service.template.image, digest: '' } },
  }));
  return { ...spec, services: services.sort((a, b) => (a.name < b.name ? -1 : 1)) };
}
