import { describe, expect, it } from 'vitest';
import { followed } from '../../../cli/commands/followed.ts';
import { ToldLogs } from '../../../cli/commands/told-logs.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { LogsReply } from '../../../proto/codec/streams.ts';

const patience = { backoff: { firstMs: 2, factor: 2, maxMs: 10 }, giveUpAfterMs: 80, steadyMs: 10_000 };

/** One stream after the other: what it brings, then how it ends; `undefined`: of its own. */
function streams(...scripts: readonly (readonly [readonly number[], FrotaError | undefined])[]) {
  const notes: string[] = [];
  let opened = 0;
  const stop = new AbortController();
  const open = async function* (): AsyncGenerator<number> {
    const [replies, error] = scripts[Math.min(opened, scripts.length - 1)] ?? [[], undefined];
    opened += 1;
    yield* replies;
    await Promise.resolve();
    if (error !== undefined) throw error;
  };
  const read = async (count: number): Promise<readonly number[]> => {
    const seen: number[] = [];
    const ready = () => Promise.resolve(true);
    const note = (text: string) => void notes.push(text);
    for await (const reply of followed(open, { ready, signal: stop.signal, note, patience })) {
      seen.push(reply);
      if (seen.length === count) break;
    }
    return seen;
  };
  return { read, notes, stop, opened: () => opened };
}

const gone = new FrotaError('unavailable', 'connection dropped');

describe('what is followed', () => {
  it('goes on when the controller is back, and says so', async () => {
    const { read, notes } = streams([[1, 2], gone], [[], gone], [[3], gone]);
    expect(await read(3)).toEqual([1, 2, 3]);
    expect(notes).toEqual([
      'the controller does not answer; trying again for 0.08 s',
      'the controller answers again',
      'the controller answers again',
    ]);
  });

  it('goes on behind a controller that stops in good order', async () => {
    const { read } = streams([[1], undefined], [[2], gone]);
    expect(await read(2)).toEqual([1, 2]);
  });

  it('ends when none comes back', async () => {
    const { read, opened } = streams([[1], gone], [[], gone]);
    await expect(read(9)).rejects.toMatchObject({
      code: 'unavailable',
      message: 'no controller came back within 0.08 s; what was told so far is all',
    });
    expect(opened()).toBeGreaterThan(3);
  });

  it.each([
    ['there never was a controller', [[], gone] as const],
    ['it is refused', [[1], new FrotaError('not-found', 'no such service')] as const],
  ])('ends at once where %s', async (_, script) => {
    const { read, opened } = streams(script);
    await expect(read(9)).rejects.toBe(script[1]);
    expect(opened()).toBe(1);
  });

  it('ends when the person has seen enough', async () => {
    const { read, stop } = streams([[1], gone]);
    setTimeout(() => {
      stop.abort();
    }, 10);
    await expect(read(9999)).rejects.toMatchObject({ code: 'cancelled' });
  });
});

describe('logs that were told', () => {
  const source = (index: number, taskId: string) => ({
    index,
    taskId,
    stack: 's',
    service: 'web',
    slot: 1,
    node: 'n1',
  });
  const line = (from: number, time: string, ordinal: number) => ({
    source: from,
    line: { time, stream: 'stdout' as const, text: Buffer.from(''), ordinal },
  });
  const reply = (over: Partial<LogsReply>): LogsReply => ({ sources: [], lines: [], notices: [], ...over });

  it('go on behind the last line of each task; the printer knows each by one index', () => {
    const told = new ToldLogs({ targets: ['web'], follow: true }, () => 0);
    expect(told.next()).toEqual({ targets: ['web'], follow: true });
    told.pass(reply({ sources: [source(0, 'a'), source(1, 'b')], lines: [line(0, 'T1', 1), line(0, 'T1', 2)] }));
    expect(told.next().resume).toEqual([{ taskId: 'a', after: { time: 'T1', count: 2 } }, { taskId: 'b' }]);
    const passed = told.pass(
      reply({ sources: [source(0, 'b'), source(1, 'c'), source(2, 'a')], lines: [line(2, 'T2', 1), line(1, 'T3', 1)] }),
    );
    expect(passed.sources).toEqual([{ ...source(1, 'c'), index: 2 }]);
    expect(passed.lines.map((each) => each.source)).toEqual([0, 2]);
    expect(told.next().resume?.map(({ after }) => after?.time)).toEqual(['T2', undefined, 'T3']);
  });

  it('begin for a silent task when it was known, where only the last lines were asked for', () => {
    const knownAtMs = Date.parse('2026-11-24T10:00:02Z');
    const told = new ToldLogs({ targets: ['web'], follow: true, tail: 5 }, () => knownAtMs);
    told.next();
    told.pass(reply({ sources: [source(0, 'a')] }));
    expect(told.next().resume).toEqual([{ taskId: 'a', since: '2026-11-24T10:00:00.000000000Z' }]);
  });
});
