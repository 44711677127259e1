/** The merge of logs: by time, complete, each task's own order kept, and never more in memory than its bound. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Merge } from '../../../controller/streams/merge.ts';
import type { LogLine } from '../../../proto/domain/logs.ts';

const encoder = new TextEncoder();
const line = (time: number, text = ''): LogLine => ({
  time: `2026-11-24T12:00:${String(time).padStart(2, '0')}.000000000Z`,
  stream: 'stdout',
  text: encoder.encode(text),
  ordinal: 1,
});
const timesOf = (taken: readonly { readonly line: LogLine }[]) => taken.map((each) => Number(each.line.time.slice(17, 19))); // prettier-ignore
const many = (count: number): readonly LogLine[] => Array.from({ length: count }, (_, at) => line(1, String(at)));
const windowMs = 200;
const maxQueued = 4_000;

/** A clock that is set, and a merge that has never a source which nobody pushes to. */
function merge(follow: boolean, sources: readonly number[] = []) {
  const clock = { nowMs: 0 };
  const made = new Merge(follow, () => clock.nowMs);
  for (const source of sources) made.add(source);
  return { clock, merge: made };
}

async function settled(work: Promise<unknown>): Promise<boolean> {
  let done = false;
  void work.then(() => {
    done = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  return done;
}

describe('lines of several tasks that have ended', () => {
  it('come by time, all of them, and each task’s in the order it wrote them', () => {
    const perSource = fc.array(
      fc.array(fc.nat({ max: 59 }), { maxLength: 12 }).map((times) => times.sort((a, b) => a - b)),
      { minLength: 1, maxLength: 5 },
    );
    fc.assert(
      fc.property(perSource, (sources) => {
        const { merge: made } = merge(
          false,
          sources.map((_, source) => source),
        );
        for (const [source, times] of sources.entries()) {
          void made.push(
            source,
            times.map((time, at) => line(time, String(at))),
          );
          made.end(source);
        }
        const taken = made.take();
        expect(timesOf(taken)).toEqual(sources.flat().sort((a, b) => a - b));
        for (const [source, times] of sources.entries()) {
          const own = taken.filter((each) => each.source === source).map((each) => Number(new TextDecoder().decode(each.line.text))); // prettier-ignore
          expect(own).toEqual(times.map((_, at) => at));
        }
        expect(made.take()).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });

  it('wait for a task that has said nothing yet, however long it takes', () => {
    const { clock, merge: made } = merge(false, [0, 1]);
    void made.push(0, [line(5)]);
    clock.nowMs = 10 * windowMs;
    expect(made.take()).toEqual([]);
    void made.push(1, [line(3), line(7)]);
    // Behind 5 the first task may have a 6.
    expect(timesOf(made.take())).toEqual([3, 5]);
    made.end(0);
    expect(timesOf(made.take())).toEqual([7]);
  });
});

describe('lines of several tasks that are followed', () => {
  it('wait for an earlier one of a silent task, but only so long', () => {
    const { clock, merge: made } = merge(true, [0, 1]);
    void made.push(0, [line(5)]);
    clock.nowMs = windowMs - 1;
    expect(made.take()).toEqual([]);
    clock.nowMs = windowMs;
    expect(timesOf(made.take())).toEqual([5]);
  });

  it('of a task whose node went away hold back nobody else’s', () => {
    const { merge: made } = merge(true, [0, 1]);
    void made.push(0, [line(5)]);
    made.end(1);
    expect(timesOf(made.take())).toEqual([5]);
  });

  it('of a task that was not announced, or is over, are nobody’s', () => {
    const { merge: made } = merge(true, [0]);
    void made.push(7, [line(1)]);
    made.end(0);
    expect(made.take()).toEqual([]);
  });
});

describe('a reader that is slow', () => {
  it('keeps what is written from being read on, until there is room again', async () => {
    const { merge: made } = merge(true, [0]);
    const first = made.push(0, many(maxQueued - 1));
    expect(await settled(first)).toBe(true);
    const full = made.push(0, [line(2)]);
    expect(await settled(full)).toBe(false);
    // One message holds a thousand lines.
    expect(made.take()).toHaveLength(1_000);
    expect(await settled(full)).toBe(true);
    let rest = 0;
    for (let taken = made.take(); taken.length > 0; taken = made.take()) rest += taken.length;
    expect(rest).toBe(maxQueued - 1_000);
  });

  it('that leaves lets everybody go', async () => {
    const { merge: made } = merge(true, [0]);
    const full = made.push(0, many(maxQueued));
    expect(await settled(full)).toBe(false);
    made.close();
    expect(await settled(full)).toBe(true);
    expect(made.take()).toEqual([]);
  });
});

describe('who waits for a change', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('is woken by lines, ends, and by a line that has waited long enough; nothing rung before is lost', async () => {
    const { merge: made } = merge(true, [0, 1]);
    void made.push(0, [line(1)]);
    await made.changed();
    let woken = 0;
    const wait = (): Promise<void> => made.changed().then(() => void (woken += 1));
    const timed = wait();
    await vi.advanceTimersByTimeAsync(windowMs - 1);
    expect(woken).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    await timed;
    const rung = wait();
    made.end(1);
    await rung;
    expect(woken).toBe(2);
    expect(vi.getTimerCount()).toBe(0);
  });
});
