/** The guard of fenced tasks on real control groups: whatever becomes of the agent, a task ends with its lease, and not before. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import {
  cgroupPids,
  controllerFolder,
  detectCgroupLayout,
  killCgroup,
  makeCgroup,
  moveToCgroup,
  removeCgroup,
} from '../../../agent/host/cgroups.ts';
import { Guard } from '../../../agent/fencing/guard.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { leaseSlackMs } from '../../../proto/domain/fencing.ts';

const layout = await detectCgroupLayout();
const parent = '/ft-fencing';
const container = `${parent}/containers/t1`;
const leaseMs = 2_000;
const root = join(import.meta.dirname, '../../..');
// Inside the checkout, so that the packages left out of the bundle are found.
const bundles = join(root, 'node_modules/.cache', `ft-fencing-${String(process.pid)}`);

let folder: string;
let agent: ChildProcess;

async function startAgent(): Promise<void> {
  const words = [join(bundles, 'lease-agent.js'), folder, parent, String(leaseMs)];
  agent = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(agent.stdout ?? agent, 'data');
}

const runs = async (): Promise<boolean> => (await cgroupPids(layout, container)).length > 0;
const guards = () => cgroupPids(layout, `${parent}/guard`);

async function freezeGroup(path: string, frozen: boolean): Promise<void> {
  const freezer = controllerFolder(layout, 'freezer', path) ?? '';
  if (layout.kind === 'v2') await writeFile(join(freezer, 'cgroup.freeze'), frozen ? '1' : '0');
  else await writeFile(join(freezer, 'freezer.state'), frozen ? 'FROZEN' : 'THAWED');
}

/** How long after `sinceMs` the container was gone. */
async function endedAfterMs(sinceMs: number): Promise<number> {
  for (let tries = 0; tries < 400; tries += 1) {
    if (!(await runs())) return performance.now() - sinceMs;
    await sleep(10);
  }
  throw new Error('it runs on');
}

/** The last answer may be a renewal's interval old when the agent stops. */
function expectWithTheLease(ms: number): void {
  expect(ms).toBeGreaterThan(leaseMs / 2);
  expect(ms).toBeLessThan(leaseMs + leaseSlackMs(leaseMs));
}

beforeAll(async () => {
  await build({
    absWorkingDir: root,
    entryPoints: ['test/contracts/fencing/lease-agent.ts'],
    outdir: bundles,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
  });
});
afterAll(() => rm(bundles, { recursive: true, force: true }));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ft-fencing-'));
  await makeCgroup(layout, container);
  const victim = spawn('sleep', ['600'], { stdio: 'ignore' });
  await once(victim, 'spawn');
  await moveToCgroup(layout, container, victim.pid ?? 0);
  await startAgent();
});

afterEach(async () => {
  await killCgroup(layout, parent);
  await removeCgroup(layout, parent);
  await rm(folder, { recursive: true, force: true });
});

it('is outside the cgroup of the agent, and lets the task run for as long as the lease is renewed', async () => {
  expect(await guards()).not.toEqual([]);
  expect(await cgroupPids(layout, `${parent}/agent`)).toEqual([agent.pid]);
  await sleep(2 * leaseMs);
  expect(await runs()).toBe(true);
});

it('ends the task with its lease when the agent is killed', async () => {
  const sinceMs = performance.now();
  agent.kill('SIGKILL');
  expectWithTheLease(await endedAfterMs(sinceMs));
});

it('ends the task with its lease when the agent is stopped by a signal', async () => {
  const sinceMs = performance.now();
  agent.kill('SIGSTOP');
  expectWithTheLease(await endedAfterMs(sinceMs));
});

it("ends the task with its lease when the agent's cgroup is frozen", async () => {
  const sinceMs = performance.now();
  await freezeGroup(`${parent}/agent`, true);
  expectWithTheLease(await endedAfterMs(sinceMs));
  await freezeGroup(`${parent}/agent`, false);
});

it('ends a task that is frozen itself', async () => {
  await freezeGroup(container, true);
  const sinceMs = performance.now();
  agent.kill('SIGKILL');
  expectWithTheLease(await endedAfterMs(sinceMs));
});

it('kills what comes after the lease has ended, too', async () => {
  agent.kill('SIGKILL');
  await endedAfterMs(performance.now());
  const late = spawn('sleep', ['600'], { stdio: 'ignore' });
  await once(late, 'spawn');
  await moveToCgroup(layout, container, late.pid ?? 0);
  expect(await endedAfterMs(performance.now())).toBeLessThan(500);
});

it('is started anew when it was killed, and the task runs on', async () => {
  const before = await guards();
  for (const pid of before) process.kill(pid, 'SIGKILL');
  await sleep(2 * leaseMs);
  expect(await runs()).toBe(true);
  expect((await guards()).filter((pid) => before.includes(pid))).toEqual([]);
  expect(await guards()).not.toEqual([]);
});

it('is found again by the next agent, and guards the task for that one', async () => {
  const owner = await readFile(join(folder, 'pid'), 'utf8');
  agent.kill('SIGKILL');
  await startAgent();
  expect(await readFile(join(folder, 'pid'), 'utf8')).toBe(owner);
  await sleep(leaseMs + leaseSlackMs(leaseMs));
  expect(await runs()).toBe(true);
});

it('ends when no task needs it any more', async () => {
  const ended = once(agent, 'exit');
  agent.kill('SIGTERM');
  await ended;
  // It looks a few times a second; a busy machine lets it wait.
  await expect.poll(guards, { timeout: 5_000 }).toEqual([]);
  expect(await runs()).toBe(true);
});

it('is there for a task that comes while it is stopped for want of one', async () => {
  const cgroup = `${parent}/second`;
  const guard = new Guard({ folder, cgroup, layout, logger: silentLogger });
  agent.kill('SIGTERM');
  await once(agent, 'exit');
  await expect.poll(guards, { timeout: 5_000 }).toEqual([]);
  expect(await guard.confirm()).toBe(true);
  for (let round = 0; round < 5; round += 1) {
    const stopped = guard.stop();
    expect(await guard.confirm()).toBe(true);
    await stopped;
    expect(guard.isAwake).toBe(true);
    expect(await cgroupPids(layout, cgroup)).not.toEqual([]);
  }
  await guard.stop();
  await expect.poll(() => cgroupPids(layout, cgroup), { timeout: 5_000 }).toEqual([]);
});
