/**
 * Stacks written through a real controller while it, or its etcd, is killed; afterwards the store must hold what was
 * acknowledged. Each writer keeps what its stack may be: one state while every call is answered, more after a call
 * without an answer, which was done or was not.
 */
import { rm, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Control } from '../../cli/commands/control.ts';
import { openEmbeddedStore } from '../../controller/store/embedded/embedded-store.ts';
import { openEtcdStore } from '../../controller/store/etcd/etcd-store.ts';
import { eventPrefix, historyPrefixOf, parseKey, sealingKey } from '../../controller/store/keys.ts';
import { startMirror } from '../../controller/store/mirror.ts';
import type { Store } from '../../controller/store/store.ts';
import type { Snapshot } from '../../controller/plan/snapshot.ts';
import { FrotaError } from '../../proto/base/errors.ts';
import { silentLogger } from '../../proto/base/log.ts';
import { decodeEvent, decodeRevision } from '../../proto/codec/records.ts';
import type { StackSpec } from '../../proto/domain/service.ts';
import { createController, startTagAnswers } from '../builders/controller.ts';
import type { ControllerProcess } from '../builders/controller.ts';
import { aServiceSpec, aStackSpec, aTemplate } from '../builders/domain.ts';
import { startEtcd } from '../builders/etcd.ts';
import type { Etcd } from '../builders/etcd.ts';
import { seededRandom } from '../builders/seed.ts';

/** Enough that writes of several calls are under way at any moment. */
const writerCount = 4;
/** Once writes are under way the kill comes within this long; one takes a few milliseconds. */
const longestWritingMs = 250;
/** As often the kill comes whenever it comes: before the first write, or while the controller is still busy with its start. */
const earlyKills = 0.2;
/** A call takes 5 s when etcd does not answer at all. */
const callTimeoutMs = 20_000;

/** `version` 0: there is no such stack. `mark` says which call wrote it. */
interface Known {
  readonly version: number;
  readonly mark: string;
}

const absent: Known = { version: 0, mark: '' };

interface House {
  readonly controller: ControllerProcess;
  readonly etcd: Etcd | undefined;
  readonly writers: readonly StackWriter[];
  readonly random: () => number;
  /** Opens the store beside, or instead of, the controller. */
  readonly open: () => Promise<Store> | Store;
}

/** SIGKILL of the controller, `rounds` times, at moments that follow from the seed. @returns acknowledged writes */
export function killController(kind: 'embedded' | 'etcd', rounds: number, seed: number): Promise<number> {
  return inHouse(kind, seed, async (house) => {
    for (let round = 0; round < rounds; round += 1) {
      await house.controller.start();
      await writeDuring(house, async () => {
        await someMoment(house);
        await house.controller.kill();
      });
      await look(house);
    }
    await settle(house);
  });
}

/** SIGKILL of etcd under a controller that goes on. @returns acknowledged writes */
export function killEtcd(rounds: number, seed: number): Promise<number> {
  return inHouse('etcd', seed, async (house) => {
    await house.controller.start();
    for (let round = 0; round < rounds; round += 1) {
      await writeDuring(house, async () => {
        await someMoment(house);
        await house.etcd?.kill();
        await sleep(house.random() * longestWritingMs);
        await house.etcd?.start();
      });
      await look(house);
    }
    await house.controller.kill();
    await settle(house);
  });
}

async function inHouse(kind: 'embedded' | 'etcd', seed: number, run: (house: House) => Promise<void>): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'ft-crash-'));
  const etcd = kind === 'etcd' ? await startEtcd() : undefined;
  const endpoints = { secure: false, addresses: [etcd?.address ?? ''] };
  const controller = await createController(folder, etcd === undefined ? [] : ['--store', `etcd://${etcd.address}`]);
  const tags = await startTagAnswers();
  const random = seededRandom(seed);
  const writers = Array.from({ length: writerCount }, (_, n) => new StackWriter(`app${String(n)}`, tags.host, random));
  const open = () =>
    etcd === undefined ? openEmbeddedStore(join(folder, 'store')) : openEtcdStore({ endpoints, logger: silentLogger });
  try {
    await run({ controller, etcd, writers, random, open });
    return acknowledgedBy(writers);
  } catch (error) {
    throw new Error(`with FROTA_SEED=${String(seed)} on ${kind}: ${FrotaError.from(error).message}`, { cause: error });
  } finally {
    tags.close();
    await controller.kill();
    await etcd?.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

const acknowledgedBy = (writers: readonly StackWriter[]): number =>
  writers.reduce((sum, { acknowledged }) => sum + acknowledged, 0);

/** While something is written, mostly. */
async function someMoment({ writers, random }: House): Promise<void> {
  const before = acknowledgedBy(writers);
  const early = random() < earlyKills;
  for (let waited = 0; !early && acknowledgedBy(writers) === before && waited < callTimeoutMs; waited += 10)
    await sleep(10);
  await sleep(random() * longestWritingMs);
}

/** All writers at once, until `disturb` is through. */
async function writeDuring({ controller, writers }: House, disturb: () => Promise<void>): Promise<void> {
  const control = await controller.control();
  const over = new AbortController();
  try {
    const writing = writers.map((writer) => writer.run(control, over.signal));
    await disturb();
    over.abort();
    await Promise.all(writing);
  } finally {
    over.abort();
    control.close();
  }
}

/** Nothing acknowledged is lost, nothing is torn: every record is whole, and each stack is one that its writer knows of. */
async function look({ writers, open }: House): Promise<Snapshot> {
  const store = await open();
  const mirror = await startMirror(store, silentLogger);
  try {
    expect([...mirror.unreadable()]).toEqual([]);
    const { entries } = await store.range('');
    for (const { key, value } of entries) readBesideSnapshot(key, value, writers);
    for (const writer of writers) writer.found(mirror.snapshot());
    return mirror.snapshot();
  } finally {
    await mirror.close();
    await store.close();
  }
}

/** Records that the snapshot leaves out must be whole too. A kind that is not known here is to be added here. */
function readBesideSnapshot(key: string, value: Uint8Array, writers: readonly StackWriter[]): void {
  if (parseKey(key) !== undefined || key === sealingKey) return;
  if (key.startsWith(eventPrefix)) decodeEvent(value);
  else if (writers.some(({ name }) => key.startsWith(historyPrefixOf(name)))) decodeRevision(value);
  else expect.fail(`nobody knows a record under ${key}`);
}

/** Once nothing is killed any more: the plan has made of every stack exactly what it declares. */
async function settle(house: House): Promise<void> {
  await house.controller.start();
  const control = await house.controller.control();
  for (const writer of house.writers) await writer.applyOnce(control);
  control.close();
  await house.controller.kill();
  const { stacks, services, tasks } = await look(house);
  expect([...services.keys()].sort()).toEqual([...stacks.keys()].map((name) => `${name}/web`).sort());
  const wanted = [...tasks.values()].filter(({ value }) => value.desired === 'running');
  const slots = wanted.map(({ value }) => `${value.stack}/${value.service}.${String(value.slot)}`);
  const declared = [...stacks.values()].flatMap(({ value: { spec } }) =>
    spec.services.flatMap(({ name, replicas }) =>
      Array.from({ length: replicas }, (_, slot) => `${spec.name}/${name}.${String(slot + 1)}`),
    ),
  );
  expect(slots.sort()).toEqual(declared.sort());
}

class StackWriter {
  acknowledged = 0;
  #possible: readonly Known[] = [absent];
  #count = 0;

  constructor(
    readonly name: string,
    readonly registry: string,
    readonly random: () => number,
  ) {}

  /** Writes until the signal, or until the controller is gone. */
  async run(control: Control, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const answered =
        this.random() < 0.1 && this.#possible.every(({ version }) => version > 0)
          ? await this.#remove(control)
          : await this.applyOnce(control);
      // Without an answer the next call is not made at once: the controller, or its etcd, is away.
      if (!answered) await sleep(20);
    }
  }

  /** @returns whether it was acknowledged */
  async applyOnce(control: Control): Promise<boolean> {
    this.#count += 1;
    const mark = `${this.name}-${String(this.#count)}`;
    const written = ({ version }: Known): Known => ({ version: version + 1, mark });
    const reply = await this.#attempt(
      () => control.apply(this.#spec(mark), [], AbortSignal.timeout(callTimeoutMs)),
      this.#possible.map(written),
    );
    if (reply === undefined) return false;
    const known = this.#possible.map(written).find(({ version }) => version === reply.version);
    expect(known, `${mark} became version ${String(reply.version)} of ${this.#tell()}`).toBeDefined();
    this.#acknowledge(known ?? absent);
    return true;
  }

  async #remove(control: Control): Promise<boolean> {
    const reply = await this.#attempt(
      () => control.removeStack(this.name, AbortSignal.timeout(callTimeoutMs)),
      [absent],
    );
    if (reply === undefined) return false;
    this.#acknowledge(absent);
    return true;
  }

  /** After no answer, what the call would have made is possible too. */
  async #attempt<T>(call: () => Promise<T>, outcomes: readonly Known[]): Promise<T | undefined> {
    try {
      return await call();
    } catch (thrown) {
      const { code, message } = FrotaError.from(thrown);
      // These are answers: nothing was written.
      if (code === 'conflict') return undefined;
      expect(['unavailable', 'cancelled', 'deadline'], message).toContain(code);
      this.#possible = [...this.#possible, ...outcomes];
      return undefined;
    }
  }

  #acknowledge(known: Known): void {
    this.acknowledged += 1;
    this.#possible = [known];
  }

  /** What the store holds must be one of the possible; from then on it is known. */
  found({ stacks }: Snapshot): void {
    const stack = stacks.get(this.name)?.value;
    const template = stack?.spec.services[0]?.template;
    const found: Known =
      stack === undefined ? absent : { version: stack.version, mark: template?.environment['MARK'] ?? '' };
    expect(this.#possible, `${this.name}: ${JSON.stringify(found)} of ${this.#tell()}`).toContainEqual(found);
    if (template !== undefined) expect(template.environment['FILLING']).toBe(fillingOf(found.mark));
    this.#possible = [found];
  }

  #tell(): string {
    return JSON.stringify(this.#possible);
  }

  #spec(mark: string): StackSpec {
    const template = aTemplate({
      image: { reference: `${this.registry}/web:1`, digest: '' },
      environment: { MARK: mark, FILLING: fillingOf(mark) },
      networks: [{ network: `${this.name}_default`, aliases: [] }],
    });
    return aStackSpec(this.name, [aServiceSpec({ template, replicas: 1 + (this.#count % 3) })]);
  }
}

/** From a few bytes to some 30 kB, so that records take one page or many. */
const fillingOf = (mark: string): string => mark.repeat((Number(mark.split('-')[1] ?? 0) * 7_919) % 4_000);
