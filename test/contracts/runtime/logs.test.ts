import { existsSync, readFileSync, readdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { LogLine, LogQuery } from '../../../proto/domain/logs.ts';
import type { OciRuntime } from '../../../agent/runtime/oci/oci-runtime.ts';
import { makeFixture, listOf, runToEnd, type Fixture } from './fixture.ts';

const never = new AbortController().signal;

let fixture: Fixture;
let runtime: OciRuntime;

beforeAll(async () => {
  fixture = await makeFixture('logs', {
    logLimits: { maxFileBytes: 200_000, maxFiles: 3, unattendedBytes: 1_500_000 },
    keptLimits: { perSlot: 2, totalBytes: 1_000_000, ageMs: 60_000 },
  });
  runtime = await fixture.open();
});
afterEach(async () => {
  for (const { id } of await runtime.list()) await runtime.remove(id);
  expect(await fixture.traces()).toEqual({ mounts: [], pids: [], cgroups: [], folders: [] });
});
afterAll(async () => {
  await fixture.close();
});

const textOf = ({ text }: LogLine): string => Buffer.from(text).toString('utf8');
const range = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => String(from + index));

async function lines(id: string, query: Partial<LogQuery> = {}): Promise<readonly LogLine[]> {
  const all: LogLine[] = [];
  for await (const batch of runtime.logs(id, { follow: false, ...query }, never)) all.push(...batch);
  return all;
}
const texts = async (id: string, query: Partial<LogQuery> = {}): Promise<string[]> =>
  (await lines(id, query)).map(textOf);

async function begin(id: string, script: string): Promise<void> {
  await runtime.create(fixture.spec(id, ['sh', '-c', script]), never);
  await runtime.start(id);
}

const logFiles = (id: string): string[] =>
  listOf(join(fixture.options.dataDir, 'containers', id)).filter((name) => name.startsWith('log'));

describe('the log of a container', () => {
  it('has both streams, times, any bytes, long lines whole, and a last line without an end', async () => {
    const script = [
      'echo out; sleep 0.02; echo err >&2; sleep 0.02',
      String.raw`printf 'a\rb\033[31m\377\000c\n'`,
      'busybox seq -s x 1 20000',
      'printf end',
    ].join('; ');
    const before = new Date().toISOString();
    await runToEnd(runtime, fixture.spec('any', ['sh', '-c', script]));
    const all = await lines('any');
    expect(all.map(({ stream }) => stream)).toEqual(['stdout', 'stderr', 'stdout', 'stdout', 'stdout']);
    expect(all.slice(0, 2).map(textOf)).toEqual(['out', 'err']);
    expect(Buffer.from(all[2]!.text)).toEqual(Buffer.from('a\rb\x1b[31m\xff\0c', 'latin1'));
    expect(textOf(all[3]!)).toBe(range(1, 20_000).join('x'));
    expect(textOf(all[4]!)).toBe('end');
    for (const { time } of all) expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
    expect(all[0]!.time > before && all[0]!.time < new Date().toISOString()).toBe(true);
    expect(await texts('any', { tail: 2 })).toEqual([range(1, 20_000).join('x'), 'end']);
    expect(await texts('any', { since: all[1]!.time, until: all[1]!.time })).toEqual(['err']);
  });

  it('is rotated without a line lost, read across its files, and bounded', async () => {
    await begin('busy', 'for i in $(busybox seq 0 9); do busybox seq $((i*4000+1)) $((i*4000+4000)); sleep 0.5; done');
    const seen: string[] = [];
    let most = 0;
    for await (const batch of runtime.logs('busy', { follow: true }, never)) {
      seen.push(...batch.map(textOf));
      most = Math.max(most, logFiles('busy').length);
    }
    expect(seen).toEqual(range(1, 40_000));
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(4);
    const left = await texts('busy');
    expect(left.length).toBeGreaterThan(4_000);
    expect(left.length).toBeLessThan(30_000);
    expect(left).toEqual(range(40_001 - left.length, 40_000));
    expect(await texts('busy', { tail: 5_000 })).toEqual(range(35_001, 40_000));
    expect(await runtime.lastOutput('busy')).toContain('\n39999\n40000\n');
  });

  it('is followed to its end by several at once, each from where it asked', async () => {
    await begin('shown', 'for i in $(busybox seq 1 40); do echo $i; sleep 0.05; done');
    const follow = async (query: Partial<LogQuery>): Promise<string[]> => texts('shown', { follow: true, ...query });
    await sleep(500);
    const [all, late] = await Promise.all([follow({}), follow({ tail: 0 })]);
    expect(all).toEqual(range(1, 40));
    expect(late.length).toBeGreaterThan(10);
    expect(late).toEqual(range(41 - late.length, 40));
  });

  it('is bounded and goes on beyond the limit that holds without an agent, which holds nobody up', async () => {
    // Some 50 bytes a line with what conmon adds: 60,000 are twice the limit.
    await begin('chatty', 'busybox seq 1 60000; echo done; while :; do sleep 0.1; echo on; done');
    await runtime.close();
    const folder = join(fixture.options.dataDir, 'containers/chatty');
    const bytes = (): number => logFiles('chatty').reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    let most = 0;
    await expect
      .poll(
        () => {
          most = Math.max(most, bytes());
          return readFileSync(join(folder, 'log'), 'utf8').includes(' done\n');
        },
        { timeout: 20_000, interval: 20 },
      ) // prettier-ignore
      .toBe(true);
    expect(most).toBeLessThan(1_800_000);
    // The next agent reads what there is, to the end, and rotates on.
    runtime = await fixture.open();
    await expect.poll(async () => (await texts('chatty', { tail: 1 }))[0], { timeout: 5_000 }).toBe('on');
    const left = (await texts('chatty')).filter((text) => /^\d+$/.test(text));
    expect(left).toEqual(range(60_001 - left.length, 60_000));
    expect(left.length).toBeGreaterThan(100);
    await expect.poll(bytes, { timeout: 5_000 }).toBeLessThan(1_600_000);
  });

  it('is followed without a line lost where the limit falls in the midst of it', async () => {
    await begin(
      'steady',
      'for i in $(busybox seq 0 19); do busybox seq $((i*4000+1)) $((i*4000+4000)); sleep 0.5; done',
    );
    const seen: string[] = [];
    for await (const batch of runtime.logs('steady', { follow: true }, never)) seen.push(...batch.map(textOf));
    expect(seen).toEqual(range(1, 80_000));
  });

  it('is helped out when an agent died in the midst of a rotation', async () => {
    await begin('torn', 'i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo $i; sleep 0.05; done');
    await runtime.close();
    const folder = join(fixture.options.dataDir, 'containers/torn');
    renameSync(join(folder, 'log'), join(folder, 'log.1'));
    runtime = await fixture.open();
    await runtime.list();
    await expect.poll(() => existsSync(join(folder, 'log')), { timeout: 5_000 }).toBe(true);
    const seen: string[] = [];
    const abort = new AbortController();
    for await (const batch of runtime.logs('torn', { follow: true }, abort.signal)) {
      seen.push(...batch.map(textOf));
      if (seen.length > 60) abort.abort();
    }
    expect(seen).toEqual(range(1, seen.length));
  });
});

describe('the log of a removed container', () => {
  it('is kept, for the last few of its slot, and found by the next agent', async () => {
    for (const id of ['try1', 'try2', 'try3']) {
      await runToEnd(runtime, fixture.spec(id, ['sh', '-c', `echo ${id}; busybox seq 1 9000`], { slot: 'test/try.1' }));
      await runtime.remove(id);
    }
    expect(await texts('try3', { tail: 1 })).toEqual(['9000']);
    await runtime.close();
    runtime = await fixture.open();
    expect((await texts('try2'))[0]).toBe('try2');
    expect(await texts('try3', { follow: true })).toHaveLength(9_001);
    await expect(texts('try1')).rejects.toMatchObject({ code: 'not-found' });
    await expect(texts('../x')).rejects.toMatchObject({ code: 'not-found' });
    expect(readdirSync(join(fixture.options.dataDir, 'logs')).filter((name) => name.startsWith('try'))).toHaveLength(2);
  });

  it('reaches its reader whole, who was reading when it was removed', async () => {
    await begin('going', 'busybox seq 1 3000; sleep 60');
    const seen: string[] = [];
    for await (const batch of runtime.logs('going', { follow: true }, never)) {
      seen.push(...batch.map(textOf));
      if (seen.at(-1) === '3000') await runtime.remove('going');
    }
    expect(seen).toEqual(range(1, 3_000));
  });

  it('is none of one that was never started or never wrote', async () => {
    await runtime.create(fixture.spec('mute', ['sleep', '60']), never);
    expect(await texts('mute')).toEqual([]);
    await runtime.remove('mute');
    await expect(texts('mute')).rejects.toMatchObject({ code: 'not-found' });
  });
});
