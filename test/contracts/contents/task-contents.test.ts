/** Configs and secrets on a node: real files in a real tmpfs, a controller that answers, refuses or is away. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createTaskContents } from '../../../agent/contents/task-contents.ts';
import type { TaskContentsOptions } from '../../../agent/contents/task-contents.ts';
import { mountsBelow } from '../../../agent/host/mounts.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import type { FileMount } from '../../../proto/domain/mount.ts';
import { assignedTask } from '../../fakes/agent-ports.ts';
import { aTemplate } from '../../builders/domain.ts';

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const idOf = (text: string): string => `secret-${createHash('sha256').update(text).digest('hex')}`;
const file = (text: string, over: Partial<FileMount> = {}): FileMount => ({
  kind: 'secret',
  name: text,
  contentId: idOf(text),
  target: `/run/secrets/${text}`,
  ...over,
});
const task = (id: string, ...files: readonly FileMount[]) => assignedTask(id, { template: aTemplate({ files }) });

let run: string;
let folder: string;
/** What the controller has, and what it was asked for. */
let known: Map<string, string>;
let asked: (readonly string[])[];
let failure: FrotaError | undefined;

const open = (over: Partial<TaskContentsOptions> = {}) =>
  createTaskContents({
    folder,
    fetch: (ids) => {
      asked.push(ids);
      if (failure !== undefined) return Promise.reject(failure);
      return Promise.resolve(ids.flatMap((id) => ({ id, bytes: bytesOf(known.get(id) ?? '') })));
    },
    random: () => 0,
    logger: silentLogger,
    ...over,
  });
const waiting = () => {
  const abort = new AbortController();
  const reasons: string[] = [];
  return { abort, reasons, options: { signal: abort.signal, onWait: (reason: string) => reasons.push(reason) } };
};
const mounted = (): Promise<readonly string[]> => mountsBelow(run);

beforeEach(async () => {
  run = await mkdtemp(join(tmpdir(), 'ft-contents-'));
  folder = join(run, 'contents');
  known = new Map(['pear', 'plum', 'fig'].map((text) => [idOf(text), text]));
  asked = [];
  failure = undefined;
});
afterEach(async () => {
  for (const point of await mounted()) await promisify(execFile)('umount', [point]);
  await rm(run, { recursive: true, force: true });
});

describe('contents of tasks', () => {
  it('are files in memory with owner and mode, and leave nothing when the last task goes', async () => {
    const contents = await open();
    const files = [file('pear'), file('plum', { uid: 1000, gid: 1001, mode: 0o400 }), file('fig', { mode: 0o4711 })];
    const bound = await contents.prepare(task('a', ...files), waiting().options);
    expect(bound.map(({ target }) => target)).toEqual(files.map(({ target }) => target));
    expect(asked).toEqual([[idOf('pear'), idOf('plum'), idOf('fig')]]);
    const seen = await Promise.all(bound.map(async ({ source }) => [await readFile(source, 'utf8'), await stat(source)] as const)); // prettier-ignore
    expect(seen.map(([text, { uid, gid, mode }]) => [text, uid, gid, (mode & 0o7777).toString(8)])).toEqual([
      ['pear', 0, 0, '444'],
      ['plum', 1000, 1001, '400'],
      ['fig', 0, 0, '4711'],
    ]);
    const { stdout } = await promisify(execFile)('findmnt', ['-no', 'FSTYPE,OPTIONS', folder]);
    expect(stdout).toMatch(/^tmpfs +rw,nosuid,nodev,.*size=262144k,mode=700/);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    await contents.remove('a');
    expect(await mounted()).toEqual([]);
    expect(await readdir(run)).toEqual([]);
    await contents.remove('a');
  });

  it('mount nothing for tasks without any', async () => {
    const contents = await open();
    expect(await contents.prepare(task('a'), waiting().options)).toEqual([]);
    expect([await contents.list(), await mounted(), asked]).toEqual([[], [], []]);
  });

  it('are fetched once while some task has them, and again when none has', async () => {
    const contents = await open();
    await Promise.all([
      contents.prepare(task('a', file('pear')), waiting().options),
      contents.prepare(task('b', file('pear', { uid: 5 }), file('plum')), waiting().options),
    ]);
    expect(asked).toEqual([[idOf('pear')], [idOf('plum')]]);
    await contents.remove('a');
    const [bound] = await contents.prepare(task('c', file('pear')), waiting().options);
    expect(asked).toHaveLength(2);
    expect(await readFile(bound?.source ?? '', 'utf8')).toBe('pear');
    await contents.remove('b');
    await contents.remove('c');
    await contents.prepare(task('d', file('pear')), waiting().options);
    expect(asked).toHaveLength(3);
    await contents.remove('d');
  });

  it('outlive the agent, and a half-written file does not count', async () => {
    const first = await open();
    await first.prepare(task('a', file('pear'), file('plum')), waiting().options);
    const tasks = join(folder, 'tasks');
    await promisify(execFile)('touch', [join(tasks, 'a', `.new-${idOf('fig')}`)]);
    const second = await open();
    expect(await second.list()).toEqual(['a']);
    await second.prepare(task('b', file('plum'), file('fig')), waiting().options);
    expect(asked.slice(1)).toEqual([[idOf('fig')]]);
    const [again] = await second.prepare(task('a', file('pear'), file('plum')), waiting().options);
    expect(await readFile(again?.source ?? '', 'utf8')).toBe('pear');
    for (const id of ['a', 'b']) await second.remove(id);
    expect(await mounted()).toEqual([]);
  });

  it('are waited for, with the reason, while the controller is away', async () => {
    const contents = await open();
    failure = new FrotaError('unavailable', 'no controller is connected');
    const { reasons, options } = waiting();
    const prepared = contents.prepare(task('a', file('pear')), options);
    await vi.waitFor(() => {
      expect(reasons).toContain('waiting for its configs and secrets: no controller is connected');
    });
    failure = undefined;
    expect(await prepared).toHaveLength(1);
    await contents.remove('a');
  });

  it('are not waited for when nobody wants them any more, or when they are gone for good', async () => {
    const contents = await open();
    failure = new FrotaError('forbidden', 'no task of this node needs it');
    const { abort, reasons, options } = waiting();
    const prepared = contents.prepare(task('a', file('pear')), options);
    const outcome = expect(prepared).rejects.toMatchObject({ code: 'cancelled' });
    await vi.waitFor(() => {
      expect(reasons.length).toBeGreaterThan(0);
    });
    abort.abort();
    await outcome;
    failure = new FrotaError('not-found', 'it is not in the store any more');
    await expect(contents.prepare(task('b', file('pear')), waiting().options)).rejects.toBe(failure);
    for (const id of ['a', 'b']) await contents.remove(id);
    expect(await mounted()).toEqual([]);
  });

  it('may come in several answers, and an answer without any is none', async () => {
    let answers = 0;
    const fetch: TaskContentsOptions['fetch'] = (ids) => {
      answers += 1;
      return Promise.resolve(answers === 1 ? [] : ids.slice(0, 1).map((id) => ({ id, bytes: bytesOf('x') })));
    };
    const contents = await open({ fetch });
    const { reasons, options } = waiting();
    expect(await contents.prepare(task('a', file('pear'), file('plum')), options)).toHaveLength(2);
    expect(reasons).toHaveLength(1);
    expect(answers).toBe(3);
    await contents.remove('a');
  });

  it('are refused when there is no room in memory, or their id could be anything', async () => {
    const small = await open({ maxBytes: 64 * 1024 });
    known.set(idOf('large'), 'x'.repeat(128 * 1024));
    await expect(small.prepare(task('a', file('large')), waiting().options)).rejects.toMatchObject({
      code: 'exhausted',
      message: expect.stringContaining('no room for secret large') as string,
    });
    const strange = file('pear', { contentId: '../../etc/passwd' });
    await expect(small.prepare(task('b', strange), waiting().options)).rejects.toMatchObject({ code: 'unsupported' });
    for (const id of ['a', 'b']) await small.remove(id);
    expect(await mounted()).toEqual([]);
  });

  it('are never written to a disk: what took the place of the tmpfs is covered by a new one', async () => {
    const contents = await open();
    await contents.prepare(task('a', file('pear')), waiting().options);
    await promisify(execFile)('umount', [folder]);
    const [bound] = await contents.prepare(task('b', file('pear')), waiting().options);
    expect(asked).toHaveLength(2);
    expect(await mounted()).toEqual([folder]);
    expect(await readFile(bound?.source ?? '', 'utf8')).toBe('pear');
    for (const id of ['a', 'b']) await contents.remove(id);
    expect(await readdir(run)).toEqual([]);
  });
});
