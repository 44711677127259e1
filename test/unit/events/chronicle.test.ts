import { afterEach, describe, expect, it } from 'vitest';
import { eventFilter, listEvents } from '../../../controller/api/events.ts';
import { startChronicle } from '../../../controller/events/chronicle.ts';
import type { Chronicle } from '../../../controller/events/chronicle.ts';
import { eventPrefix, nodeKey, parseKey, stackKey } from '../../../controller/store/keys.ts';
import { createMemoryStore } from '../../../controller/store/memory/memory-store.ts';
import type { Store } from '../../../controller/store/store.ts';
import { wallMs, monoMs } from '../../../proto/base/clock.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { encodeNode, encodeStack } from '../../../proto/codec/records.ts';
import type { ClusterEvent } from '../../../proto/domain/event.ts';
import { aNode, aStack } from '../../builders/domain.ts';

const open: Chronicle[] = [];

afterEach(async () => {
  for (const chronicle of open.splice(0)) await chronicle.close();
});

async function lead(store: Store, epoch: number, limit = 100): Promise<Chronicle> {
  const [written] = await store.commit([
    { compares: [], operations: [{ kind: 'put', key: 'cluster', value: Uint8Array.of(epoch) }] },
  ]);
  const modRevision = written?.kind === 'committed' ? written.revision : 0;
  const chronicle = await startChronicle({
    store,
    fence: { key: 'cluster', modRevision },
    epoch,
    prefix: eventPrefix,
    parseKey,
    clock: { now: () => ({ monoMs: monoMs(0), wallMs: wallMs(1_000) }) },
    logger: silentLogger,
    limit,
  });
  open.push(chronicle);
  return chronicle;
}

const put = (store: Store, key: string, value: Uint8Array) =>
  store.commit([{ compares: [], operations: [{ kind: 'put', key, value }] }]);
const declare = (store: Store, version: number) =>
  put(store, stackKey('shop'), encodeStack(aStack('shop', undefined, { version })));

/** Until the history has `count` events. */
async function events(chronicle: Chronicle, count: number): Promise<readonly ClusterEvent[]> {
  for (let round = 0; round < 200; round += 1) {
    const kept = await chronicle.read();
    if (kept.length >= count) return kept;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`there are ${String((await chronicle.read()).length)} events, not ${String(count)}`);
}

const kinds = (list: readonly ClusterEvent[]) => list.map(({ kind }) => kind);

describe('the history', () => {
  it('is written in order, without gaps, and told to those who listen', async () => {
    const store = createMemoryStore();
    const chronicle = await lead(store, 1);
    const heard: number[] = [];
    chronicle.onAppend((batch) => heard.push(...batch.map(({ sequence }) => sequence)));
    await put(store, nodeKey('id-n1'), encodeNode(aNode('n1')));
    await declare(store, 1);
    const kept = await events(chronicle, 3);
    expect(kinds(kept)).toEqual(['controller.started', 'node.joined', 'stack.applied']);
    expect(kept.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    expect(heard.at(-1)).toBe(3);
  });

  it('goes on after a restart, and tells what changed meanwhile exactly once', async () => {
    const store = createMemoryStore();
    const first = await lead(store, 1);
    await declare(store, 1);
    await events(first, 2);
    await first.close();
    await declare(store, 2);
    const second = await lead(store, 2);
    const kept = await events(second, 4);
    expect(kept.map(({ kind, message }) => `${kind} ${message}`)).toEqual([
      'controller.started leads as epoch 1',
      'stack.applied version 1 was declared',
      'stack.applied version 2 was declared',
      'controller.started leads as epoch 2',
    ]);
  });

  it('forgets the oldest beyond its limit', async () => {
    const store = createMemoryStore();
    const chronicle = await lead(store, 1, 5);
    for (let version = 1; version <= 12; version += 1) await declare(store, version);
    for (let round = 0; round < 200; round += 1) {
      if ((await chronicle.read()).at(-1)?.sequence === 13) break;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect((await chronicle.read()).map(({ sequence }) => sequence)).toEqual([9, 10, 11, 12, 13]);
  });

  it('is not written by a controller that no longer leads', async () => {
    const store = createMemoryStore();
    const old = await lead(store, 1);
    await events(old, 1);
    const current = await lead(store, 2);
    await declare(store, 1);
    const kept = await events(current, 3);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(kinds(await current.read())).toEqual(kinds(kept));
    expect(kinds(kept).filter((kind) => kind === 'stack.applied')).toHaveLength(1);
  });
});

describe('asking for events', () => {
  const event = (over: Partial<ClusterEvent>): ClusterEvent => ({
    sequence: 1, revision: 1, atMs: 1_000, kind: 'task.running', message: 'runs', ...over,
  }); // prettier-ignore
  const task = event({ stack: 'shop', service: 'web', slot: 2, taskId: 'abcdefgh', node: 'n1' });

  it.each(['shop', 'web', 'shop/web', 'shop_web', 'web.2', 'shop/web.2', 'abcdefgh', 'abcd', 'n1'])(
    '%s is what a task is about',
    (subject) => {
      expect(eventFilter({ follow: false, subject }, 2_000)(task)).toBe(true);
    },
  );

  it.each(['sho', 'web.1', 'ab', 'shop/db', 'n2'])('%s is something else', (subject) => {
    expect(eventFilter({ follow: false, subject }, 2_000)(task)).toBe(false);
  });

  it('keeps to the times asked for', () => {
    const within = (request: object): boolean => eventFilter({ follow: false, ...request }, 2_000)(event({}));
    expect([within({ sinceAgoMs: 1_000 }), within({ sinceAgoMs: 999 })]).toEqual([true, false]);
    expect([within({ untilAgoMs: 999 }), within({ untilAgoMs: 1_000 })]).toEqual([true, false]);
    expect([within({ afterSequence: 0 }), within({ afterSequence: 1 })]).toEqual([true, false]);
  });

  it('follows what happens between reading and listening, and nothing twice', async () => {
    let tell: (events: readonly ClusterEvent[]) => void = () => undefined;
    let listening = false;
    const ports = {
      readEvents: () => {
        // Written while the history is read: in both.
        tell([event({ sequence: 2 })]);
        return Promise.resolve([event({ sequence: 1 }), event({ sequence: 2 })]);
      },
      onEvents: (listener: typeof tell) => {
        tell = listener;
        listening = true;
        return () => {
          listening = false;
        };
      },
      nowMs: () => 2_000,
    };
    const abort = new AbortController();
    const seen: number[] = [];
    for await (const reply of listEvents(ports, { follow: true }, abort.signal)) {
      seen.push(...reply.events.map(({ sequence }) => sequence));
      if (seen.length === 2) setTimeout(() => tell([event({ sequence: 3 })]), 5);
      if (seen.length === 3) abort.abort();
    }
    expect(seen).toEqual([1, 2, 3]);
    expect(listening).toBe(false);
  });

  it('takes the newest of the past', async () => {
    const all = [1, 2, 3].map((sequence) => event({ sequence }));
    const ports = { readEvents: () => Promise.resolve(all), onEvents: () => () => undefined, nowMs: () => 2_000 };
    const seen: number[] = [];
    for await (const { events: some } of listEvents(ports, { follow: false, last: 2 }, new AbortController().signal)) {
      seen.push(...some.map(({ sequence }) => sequence));
    }
    expect(seen).toEqual([2, 3]);
  });
});
