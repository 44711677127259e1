import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../../proto/base/log.ts';
import { behind, maxLogLineBytes, type LogLine, type LogQuery } from '../../../proto/domain/logs.ts';
import { KeptLogs, type KeptLimits } from '../../../agent/runtime/oci/logs/kept-logs.ts';
import { readLastOutput } from '../../../agent/runtime/oci/logs/last-output.ts';
import { LineJoiner } from '../../../agent/runtime/oci/logs/line-joiner.ts';
import { EntrySplitter, parseEntry } from '../../../agent/runtime/oci/logs/log-entry.ts';
import { listLogFiles, rotatedNumber } from '../../../agent/runtime/oci/logs/log-files.ts';
import { readLog, type LogSource } from '../../../agent/runtime/oci/logs/log-reader.ts';

const never = new AbortController().signal;
let folder: string;
let own: string;
let kept: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ft-logs-'));
  own = join(folder, 'own');
  kept = join(folder, 'kept');
  mkdirSync(own);
  mkdirSync(kept);
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** The `second`-th second of a day, as conmon writes it and as it is read. */
const clock = (second: number): string =>
  `2026-11-21T${[Math.floor(second / 3600), Math.floor(second / 60) % 60, second % 60].map((n) => String(n).padStart(2, '0')).join(':')}.000000001`; // prettier-ignore
const at = (second: number): string => `${clock(second)}Z`;
const entry = (second: number, text: string, flag = 'F', stream = 'stdout'): string =>
  `${clock(second)}+00:00 ${stream} ${flag} ${text}\n`;
const numbered = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, index) => entry(from + index, String(from + index))).join('');
const range = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => String(from + index));

const source = (ended: () => boolean = () => true): LogSource => ({
  folders: [own, kept],
  ended,
  now: () => at(80_000),
});
const textOf = ({ text }: Pick<LogLine, 'text'>): string => Buffer.from(text).toString('utf8');

async function read(query: Partial<LogQuery> = {}, from = source()): Promise<string[]> {
  const texts: string[] = [];
  for await (const lines of readLog(from, { follow: false, ...query }, never)) texts.push(...lines.map(textOf));
  return texts;
}

describe('entries', () => {
  const stamp = '2026-11-21T06:19:31.297822362';

  it('are parsed, with times in UTC', () => {
    expect(parseEntry(Buffer.from(`${stamp}+00:00 stderr P half of `))).toEqual({
      time: `${stamp}Z`,
      stream: 'stderr',
      complete: false,
      text: Buffer.from('half of '),
    });
    expect(parseEntry(Buffer.from(`${stamp}-03:30 stdout F `))?.time).toBe('2026-11-21T09:49:31.297822362Z');
    expect(parseEntry(Buffer.from(`${stamp}+00:00 stdout F \xff\0`, 'latin1'))?.text).toEqual(Buffer.from([0xff, 0]));
    for (const text of [
      '',
      'no such format',
      `${stamp}+00:00 stdfoo F x`,
      `${'x'.repeat(35)} stdout F x`,
      '\0'.repeat(99),
    ]) {
      expect(parseEntry(Buffer.from(text))).toBeUndefined();
    }
  });

  it('come out the same however the bytes are cut, damage left out', () => {
    const bytes = Buffer.from(`${numbered(1, 20)}damage\n${entry(21, '21')}`);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 40 }), (cuts) => {
        const splitter = new EntrySplitter(false);
        const texts: string[] = [];
        let start = 0;
        for (const size of [...cuts, bytes.length]) {
          texts.push(...splitter.push(bytes.subarray(start, start + size)).map(({ text }) => text.toString()));
          start += size;
        }
        expect(texts).toEqual(range(1, 21));
      }),
    );
  });

  it('are found again behind damage of any length', () => {
    const splitter = new EntrySplitter(false);
    expect(splitter.push(Buffer.alloc(70_000))).toEqual([]);
    expect(splitter.push(Buffer.from(`\0\n${entry(1, 'after')}`))).toHaveLength(1);
  });
});

describe('lines', () => {
  const joined = (...entries: readonly string[]): string[] => {
    const joiner = new LineJoiner();
    const lines = new EntrySplitter(false)
      .push(Buffer.from(entries.join('')))
      .flatMap((each) => joiner.push(each) ?? []);
    return [...lines, ...joiner.flush()].map((line) => `${line.stream} ${line.time.slice(17, 19)} ${textOf(line)}`);
  };

  it('are joined for each stream by itself, and have the time of their beginning', () => {
    const lines = joined(
      entry(1, 'one ', 'P'),
      entry(2, 'err', 'P', 'stderr'),
      entry(3, 'line'),
      entry(4, '', 'F', 'stderr'),
      entry(5, 'never ended', 'P', 'stderr'),
    );
    expect(lines).toEqual(['stdout 01 one line', 'stderr 02 err', 'stderr 05 never ended']);
  });

  it('are cut at their greatest length, without a line that is only an end', () => {
    const part = 'x'.repeat(8_192);
    const parts = Array.from({ length: maxLogLineBytes / part.length }, () => entry(1, part, 'P'));
    const lines = joined(...parts, entry(2, ''), entry(3, ''), ...parts, entry(4, 'rest'));
    expect(lines.map((line) => line.length - 'stdout 01 '.length)).toEqual([maxLogLineBytes, 0, maxLogLineBytes, 4]);
  });
});

describe('files', () => {
  it('are put in order, wherever they lie', async () => {
    for (const name of ['log', 'log.10', 'log.tmp', 'log.01', 'record.json']) writeFileSync(join(own, name), '');
    writeFileSync(join(kept, 'log.9'), '');
    expect(await listLogFiles([own, kept])).toEqual([
      { number: 9, path: join(kept, 'log.9') },
      { number: 10, path: join(own, 'log.10') },
      { number: 11, path: join(own, 'log') },
    ]);
    expect(rotatedNumber('log.0')).toBeUndefined();
  });
});

describe('reading', () => {
  beforeEach(() => {
    writeFileSync(join(own, 'log.3'), numbered(1, 1_000));
    writeFileSync(join(own, 'log.4'), numbered(1_001, 2_000));
    writeFileSync(join(own, 'log'), numbered(2_001, 3_000));
  });

  it('is everything there is', async () => {
    expect(await read()).toEqual(range(1, 3_000));
    renameSync(join(own, 'log.3'), join(kept, 'log.3'));
    expect(await read()).toEqual(range(1, 3_000));
  });

  it('is what was written in a time', async () => {
    expect(await read({ since: at(1_500) })).toEqual(range(1_500, 3_000));
    expect(await read({ until: at(1_200) })).toEqual(range(1, 1_200));
    expect(await read({ since: at(990), until: at(1_010) })).toEqual(range(990, 1_010));
    expect(await read({ since: at(4_000) })).toEqual([]);
  });

  it('is the end, of whatever is asked for', async () => {
    expect(await read({ tail: 0 })).toEqual([]);
    expect(await read({ tail: 1 })).toEqual(['3000']);
    expect(await read({ tail: 2_500 })).toEqual(range(501, 3_000));
    expect(await read({ tail: 1e9 })).toEqual(range(1, 3_000));
    expect(await read({ tail: 3, until: at(1_002) })).toEqual(['1000', '1001', '1002']);
    expect(await read({ tail: 10, since: at(2_999) })).toEqual(['2999', '3000']);
  });

  it('takes the end of a large log from its end', async () => {
    const line = 'x'.repeat(900);
    const big = Array.from({ length: 3_000 }, (_, index) => entry(4_000 + index, `${String(index)} ${line}`)).join('');
    appendFileSync(join(own, 'log'), big);
    const lines = await read({ tail: 600 });
    expect(lines).toHaveLength(600);
    expect(lines[0]).toBe(`2400 ${line}`);
  });

  it('has a line whole whose parts lie in two files, and what never ended', async () => {
    appendFileSync(join(own, 'log.4'), entry(2_000, 'begun ', 'P'));
    writeFileSync(
      join(own, 'log'),
      entry(2_001, 'other', 'F', 'stderr') + entry(2_002, 'ended') + entry(2_003, 'cut', 'P'),
    );
    expect(await read({ since: at(2_000) })).toEqual(['2000', 'other', 'begun ended', 'cut']);
    expect(await read({ since: at(2_001) })).toEqual(['other', 'cut']);
    expect(await read({ tail: 2 })).toEqual(['begun ended', 'cut']);
  });

  it('goes on where an earlier one stopped, by the count of lines of one time', async () => {
    appendFileSync(join(own, 'log'), ['a', 'b', 'c', 'd'].map((text) => entry(3_001, text)).join(''));
    appendFileSync(join(own, 'log'), entry(3_000, 'a clock that stepped back'));
    const after = (count: number, second = 3_001) => read({ after: { time: at(second), count } });
    expect(await after(2)).toEqual(['c', 'd', 'a clock that stepped back']);
    expect(await after(4)).toEqual(['a clock that stepped back']);
    expect(await after(1, 1_000)).toEqual([...range(1_001, 3_000), 'a', 'b', 'c', 'd', 'a clock that stepped back']);
    rmSync(join(own, 'log.3'));
    expect((await after(1, 500)).slice(0, 2)).toEqual(['1001', '1002']);
  });

  it('is resumed anywhere without a line lost or doubled', async () => {
    let text = '';
    for (let index = 0; index < 400; index += 1) {
      const second = Math.floor(index / 7);
      text +=
        entry(second, `${String(index)}-`, 'P') +
        (index % 3 === 0 ? entry(second, 'e', 'F', 'stderr') : '') +
        entry(second + 1, 'x');
    }
    const half = text.indexOf('\n', text.length / 2) + 1;
    writeFileSync(join(own, 'log.3'), '');
    writeFileSync(join(own, 'log.4'), text.slice(0, half));
    writeFileSync(join(own, 'log'), text.slice(half));
    const all: LogLine[] = [];
    for await (const lines of readLog(source(), { follow: false }, never)) all.push(...lines);
    expect(all).toHaveLength(400 + 134);
    const resumed = async (stop: number): Promise<string[]> => {
      const passed = all.slice(0, stop);
      const after = behind(passed);
      return [...passed.map(textOf), ...(await read(after === undefined ? {} : { after }))];
    };
    const whole = all.map(textOf);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: all.length }), async (stop) => {
        expect(await resumed(stop)).toEqual(whole);
      }),
      { numRuns: 60 },
    );
  });

  it('is resumed behind the last of a few lines, though more of the same time come before them', async () => {
    appendFileSync(
      join(own, 'log'),
      range(1, 10)
        .map((text) => entry(3_001, text))
        .join(''),
    );
    const last: LogLine[] = [];
    for await (const lines of readLog(source(), { follow: false, tail: 3 }, never)) last.push(...lines);
    expect(last.map(({ ordinal }) => ordinal)).toEqual([8, 9, 10]);
    const after = behind(last.slice(0, 2));
    expect(after).toEqual({ time: at(3_001), count: 9 });
    expect(await read({ ...(after !== undefined && { after }) })).toEqual(['10']);
  });

  it('stops at what was there when it began', async () => {
    const lines: string[] = [];
    for await (const batch of readLog(
      source(() => false),
      { follow: false },
      never,
    )) {
      lines.push(...batch.map(textOf));
      appendFileSync(join(own, 'log'), numbered(5_000, 5_100));
    }
    expect(lines).toEqual(range(1, 3_000));
  });

  it('is nothing where there is nothing', async () => {
    rmSync(own, { recursive: true });
    expect(await read()).toEqual([]);
    expect(await read({ follow: true, tail: 3 })).toEqual([]);
  });
});

describe('following', () => {
  function follow(query: Partial<LogQuery> = {}) {
    const lines: string[] = [];
    const abort = new AbortController();
    let ended = false;
    const done = (async () => {
      for await (const batch of readLog(
        source(() => ended),
        { follow: true, ...query },
        abort.signal,
      )) {
        lines.push(...batch.map(textOf));
      }
    })();
    const end = (): void => {
      ended = true;
    };
    return { lines, done, abort, end };
  }
  const until = (lines: readonly string[], count: number) =>
    expect.poll(() => lines.length, { timeout: 5_000, interval: 10 }).toBe(count);

  it('goes on across rotations, a dropped file and the removal, to the end of the container', async () => {
    writeFileSync(join(own, 'log'), numbered(1, 10));
    const { lines, done, end } = follow({ tail: 2 });
    await until(lines, 2);
    appendFileSync(join(own, 'log'), numbered(11, 20));
    await until(lines, 12);
    renameSync(join(own, 'log'), join(own, 'log.1'));
    appendFileSync(join(own, 'log.1'), numbered(21, 30));
    await until(lines, 22);
    writeFileSync(join(own, 'log'), numbered(31, 40));
    renameSync(join(own, 'log'), join(own, 'log.2'));
    writeFileSync(join(own, 'log'), numbered(41, 50));
    rmSync(join(own, 'log.1'));
    await until(lines, 42);
    appendFileSync(join(own, 'log'), numbered(51, 60) + entry(61, 'no end', 'P'));
    for (const name of readdirSync(own)) renameSync(join(own, name), join(kept, name));
    end();
    await done;
    expect(lines).toEqual([...range(9, 60), 'no end']);
  });

  it('comes before the first line, and goes on when conmon begins its file anew', async () => {
    const { lines, done, end } = follow();
    await sleep(50);
    writeFileSync(join(own, 'log'), numbered(1, 3));
    await until(lines, 3);
    writeFileSync(join(own, 'log.tmp'), numbered(4, 5));
    renameSync(join(own, 'log.tmp'), join(own, 'log'));
    await until(lines, 5);
    end();
    await done;
    expect(lines).toEqual(range(1, 5));
  });

  it('ends by its signal, and at a time that is past', async () => {
    writeFileSync(join(own, 'log'), numbered(1, 3));
    const first = follow();
    await until(first.lines, 3);
    first.abort.abort();
    await first.done;
    const second = follow({ until: at(2) });
    await second.done;
    expect(second.lines).toEqual(range(1, 2));
  });
});

describe('last output', () => {
  it('is the end of a long log, across files, and nothing of none', async () => {
    writeFileSync(join(own, 'log.1'), numbered(1, 20_000));
    writeFileSync(join(own, 'log'), numbered(20_001, 20_003) + entry(20_004, 'cut', 'P'));
    const tail = await readLastOutput([own], 100);
    expect(tail.endsWith('20000\n20001\n20002\n20003\ncut')).toBe(true);
    expect(tail).toHaveLength(100);
    expect(await readLastOutput([kept], 100)).toBe('');
  });
});

describe('logs of removed containers', () => {
  const limits: KeptLimits = { perSlot: 2, totalBytes: 1_000, ageMs: 60_000 };
  const open = (more: Partial<KeptLimits> = {}): KeptLogs => new KeptLogs(kept, { ...limits, ...more }, silentLogger);
  const end = async (logs: KeptLogs, id: string, slot: string, bytes = 100): Promise<void> => {
    const from = join(folder, `container-${id}`);
    mkdirSync(from);
    writeFileSync(join(from, 'log.1'), 'x'.repeat(bytes));
    writeFileSync(join(from, 'log'), '');
    await logs.keep(id, slot, from);
    await sleep(2);
  };

  it('are the last few of each slot, also after a restart', async () => {
    const logs = open();
    for (const id of ['a1', 'b1', 'a2', 'a3']) await end(logs, id, `app/${id.slice(0, 1)}.1`);
    expect(readdirSync(kept).sort()).toEqual(['a2', 'a3', 'b1']);
    expect(readdirSync(logs.folder('a3')).sort()).toEqual(['kept.json', 'log', 'log.1']);
    await logs.close();
    const later = open();
    await end(later, 'a4', 'app/a.1');
    expect(readdirSync(kept).sort()).toEqual(['a3', 'a4', 'b1']);
    await later.close();
  });

  it('go, the oldest first, when they are too many bytes or too old; empty ones are not kept', async () => {
    const logs = open();
    for (const id of ['a', 'b', 'c', 'd']) await end(logs, id, `app/${id}.1`, 300);
    await end(logs, 'empty', 'app/empty.1', 0);
    expect(readdirSync(kept).sort()).toEqual(['b', 'c', 'd']);
    await logs.close();
    await sleep(5);
    await open({ ageMs: 1 }).close();
    expect(readdirSync(kept)).toEqual([]);
  });

  it('are not what a crash left without a record', async () => {
    mkdirSync(join(kept, 'half'));
    writeFileSync(join(kept, 'half', 'log'), 'x');
    utimesSync(join(kept, 'half'), 1, 1);
    const logs = open();
    await logs.close();
    expect(readdirSync(kept)).toEqual([]);
  });
});
