/** A node whose disk is full: what runs runs on, what can't be made says why and leaves nothing, and with room it goes on. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OciRuntime } from '../../../agent/runtime/oci/oci-runtime.ts';
import { makeSmallDisk, smallDiskKinds, type SmallDisk } from '../../builders/small-disk.ts';
import { exitOf, makeFixture, type Fixture } from './fixture.ts';

const never = new AbortController().signal;
const diskBytes = 24_000_000;

describe.each(smallDiskKinds)('on %s', (kind) => {
  let disk: SmallDisk;
  let fixture: Fixture;
  let runtime: OciRuntime;

  beforeEach(async () => {
    disk = makeSmallDisk(kind, diskBytes);
    fixture = await makeFixture(`full-${kind}`, { dataDir: join(disk.path, 'data') });
    runtime = await fixture.open();
  });
  afterEach(async () => {
    await fixture.close();
    disk.remove();
  });

  async function begin(id: string, script: string): Promise<number> {
    await runtime.create(fixture.spec(id, ['sh', '-c', script]), never);
    return (await runtime.start(id)).pid;
  }

  /** The numbers that a container has written, as far as they are in its log. */
  const numbers = async (id: string): Promise<readonly number[]> =>
    (await runtime.lastOutput(id)).split('\n').filter(Boolean).map(Number);

  it('a container runs on, its log goes on when there is room', async () => {
    await begin('runs', 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done');
    await expect.poll(() => numbers('runs')).not.toEqual([]);
    disk.fill();
    await sleep(300);
    const [before] = await runtime.list();
    await sleep(500);
    expect(await runtime.list()).toEqual([before]);
    expect(before?.state.kind).toBe('running');
    const last = (await numbers('runs')).at(-1) ?? 0;
    disk.makeRoom();
    // It was not held up meanwhile: what it wrote then is missing, and it has come further.
    await expect.poll(async () => (await numbers('runs')).at(-1) ?? 0, { timeout: 5_000 }).toBeGreaterThan(last + 20);
    await runtime.remove('runs');
  });

  it('the exit code of a container is known all the same, to the next agent too', async () => {
    const waiting = (code: number): string => `trap "exit ${String(code)}" TERM; while :; do sleep 0.05; done`;
    const ends = Promise.all([exitOf(runtime, 'seven', 20_000), exitOf(runtime, 'zero', 20_000)]);
    await begin('seven', waiting(7));
    await begin('zero', waiting(0));
    const later = await begin('later', waiting(3));
    disk.fill();
    for (const id of ['seven', 'zero']) await runtime.kill(id, 'SIGTERM');
    expect((await ends).map(({ exitCode, reason }) => ({ exitCode, reason }))).toEqual([
      { exitCode: 7, reason: undefined },
      { exitCode: 0, reason: undefined },
    ]);
    // Nobody is there when this one ends.
    await runtime.close();
    process.kill(later, 'SIGTERM');
    await sleep(500);
    runtime = await fixture.open();
    const codes = (await runtime.list()).map(({ id, state }) => [id, state.kind === 'ended' && state.exit.exitCode]);
    expect(Object.fromEntries(codes)).toEqual({ seven: 7, zero: 0, later: 3 });
    for (const [id] of codes) await runtime.remove(String(id));
    expect(await fixture.traces()).toEqual({ mounts: [], pids: [], cgroups: [], folders: [] });
  });

  it('one that is made finds no room, leaves nothing, and is made once there is some', async () => {
    await begin('beside', 'sleep 60');
    disk.fill();
    for (const id of ['first', 'second']) {
      await expect(runtime.create(fixture.spec(id, ['sleep', '60']), never)).rejects.toMatchObject({
        code: 'exhausted',
        message: expect.stringMatching(
          new RegExp(
            `^the disk is full: no room for .* in ${disk.path}/data/containers.* \\(0\\.0 MB of .* are free\\); make room`,
          ),
        ) as string,
      });
      expect(existsSync(join(fixture.options.dataDir, 'containers', id))).toBe(false);
    }
    // Removing needs no room.
    await runtime.remove('beside');
    expect(await fixture.traces()).toEqual({ mounts: [], pids: [], cgroups: [], folders: [] });
    disk.makeRoom();
    await begin('first', 'sleep 60');
    expect((await runtime.list()).map(({ state }) => state.kind)).toEqual(['running']);
    await runtime.remove('first');
  });

  it('one that was made can only be started once its start can be recorded', async () => {
    await runtime.create(fixture.spec('made', ['sleep', '60']), never);
    disk.fill();
    await expect(runtime.start('made')).rejects.toMatchObject({ code: 'exhausted' });
    disk.makeRoom();
    await runtime.start('made');
    expect((await runtime.list()).map(({ state }) => state.kind)).toEqual(['running']);
    await runtime.remove('made');
  });
});
