/** A real controller on a real etcd: what a person sees, and who may write when two of them run. */
import { spawnSync } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Control } from '../../cli/commands/control.ts';
import { FrotaError } from '../../proto/base/errors.ts';
import { createController, startTagAnswers } from '../builders/controller.ts';
import type { ControllerProcess } from '../builders/controller.ts';
import { aServiceSpec, aStackSpec, aTemplate } from '../builders/domain.ts';
import { startEtcd } from '../builders/etcd.ts';
import type { Etcd } from '../builders/etcd.ts';
import { eventually } from './cluster.ts';

const program = resolve(import.meta.dirname, '../../dist/controller/main.js');

describe('controller on etcd', () => {
  let folder = '';
  let etcd: Etcd;
  let tags: Awaited<ReturnType<typeof startTagAnswers>>;
  const started: ControllerProcess[] = [];
  const opened: Control[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ft-etcd-controller-'));
    etcd = await startEtcd();
    tags = await startTagAnswers();
  });
  afterAll(async () => {
    for (const control of opened) control.close();
    for (const controller of started) await controller.kill();
    tags.close();
    await etcd.stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function startIn(name: string): Promise<Control> {
    const controller = await createController(join(folder, name), ['--store', `etcd://${etcd.address}`]);
    started.push(controller);
    await controller.start();
    const control = await controller.control();
    opened.push(control);
    return control;
  }

  const apply = (control: Control, name: string, replicas = 1) => {
    const networks = [{ network: `${name}_default`, aliases: [] }];
    const template = aTemplate({ image: { reference: `${tags.host}/web:1`, digest: '' }, networks });
    return control.apply(aStackSpec(name, [aServiceSpec({ template, replicas })]), [], AbortSignal.timeout(30_000));
  };
  const stacksOf = async (control: Control): Promise<readonly string[]> =>
    (await control.listServices(undefined, AbortSignal.timeout(30_000))).map(({ stack }) => stack).sort();

  it('keeps what was applied over restarts, and a second controller fences the first', async () => {
    const first = await startIn('first');
    expect((await apply(first, 'one')).version).toBe(1);
    expect((await apply(first, 'one', 2)).version).toBe(2);
    // Who leads next needs the same authority: it is the cluster's.
    await cp(join(folder, 'first'), join(folder, 'second'), { recursive: true });
    await rm(join(folder, 'second', 'admin-context.json'));
    const second = await startIn('second');
    expect(await stacksOf(second)).toEqual(['one']);

    const refused = await apply(first, 'late').catch((error: unknown) => FrotaError.from(error));
    expect(refused).toMatchObject({ code: 'conflict' });
    expect((refused as FrotaError).message).toContain('another controller has taken over');
    expect((await apply(second, 'one', 3)).version).toBe(3);
    expect((await apply(second, 'two')).version).toBe(1);
    // The first one still sees what the second one writes.
    await eventually(async () => {
      expect(await stacksOf(first)).toEqual(['one', 'two']);
    });
    await expect(first.removeStack('two', AbortSignal.timeout(30_000))).rejects.toMatchObject({ code: 'conflict' });
    expect(await stacksOf(second)).toEqual(['one', 'two']);
  });

  it('refuses a store that is another cluster’s', () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      [program, 'controller', '--data', join(folder, 'stranger'), '--store', `etcd://${etcd.address}`],
      { encoding: 'utf8' },
    );
    expect(status).toBe(1);
    expect(stderr).toContain('different clusters');
  });

  it('ends with what is wrong, where, and what to do, when no etcd answers', () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      [program, 'controller', '--data', join(folder, 'lost'), '--store', 'etcd://127.0.0.1:1'],
      { encoding: 'utf8' },
    );
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /^frota controller: no member of etcd answers .*127\.0\.0\.1:1 .*ECONNREFUSED.*check that etcd runs/,
    );
  });
});
