import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { detectCgroupLayout, makeCgroup, moveToCgroup } from '../../../agent/host/cgroups.ts';
import { identifyPid, readBootId } from '../../../agent/host/processes.ts';
import type { ContainerSpec } from '../../../agent/runtime/runtime.ts';
import { exitOf, makeFixture, type Fixture } from './fixture.ts';

const never = new AbortController().signal;
const layout = await detectCgroupLayout();
const nothing = { mounts: [], pids: [], cgroups: [], folders: [] };

let fixture: Fixture;
let bundle: string;
const agents: ChildProcess[] = [];

beforeAll(async () => {
  fixture = await makeFixture('surv');
  // Inside the checkout, so that the packages left out of the bundle are found.
  bundle = join(import.meta.dirname, '../../../node_modules/.cache', `ft-agent-${String(process.pid)}.mjs`);
  await build({
    entryPoints: [join(import.meta.dirname, 'killable-agent.ts')],
    outfile: bundle,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
  });
});
beforeEach(() => {
  agents.length = 0;
});
afterEach(async () => {
  for (const agent of agents) await kill(agent);
  const runtime = await fixture.open();
  for (const { id } of await runtime.list()) await runtime.remove(id);
  await runtime.close();
  expect(await fixture.traces()).toEqual(nothing);
});
afterAll(async () => {
  rmSync(bundle, { force: true });
  await fixture.close();
});

interface Started {
  readonly kind: string;
  readonly id: string;
  readonly pid: number;
  readonly startedAtMs: number;
}

/** An agent in a process of its own, in `<parent>/agent`; its lines as they come. */
async function spawnAgent(
  specs: readonly ContainerSpec[],
): Promise<{ agent: ChildProcess; lines: AsyncIterator<string> }> {
  const { logger: _, ...options } = fixture.options;
  const agent = spawn(process.execPath, [bundle, JSON.stringify(options), JSON.stringify(specs)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  agents.push(agent);
  const cgroup = join(fixture.options.cgroupParent, 'agent');
  await makeCgroup(fixture.layout, cgroup);
  await moveToCgroup(fixture.layout, cgroup, agent.pid ?? 0);
  const lines = createInterface({ input: agent.stdout })[Symbol.asyncIterator]();
  expect(JSON.parse(String((await lines.next()).value))).toEqual({ kind: 'ready' });
  return { agent, lines };
}

async function kill(agent: ChildProcess): Promise<void> {
  if (agent.exitCode !== null || agent.signalCode !== null) return;
  agent.kill('SIGKILL');
  await once(agent, 'exit');
}

const nextStarted = async (lines: AsyncIterator<string>): Promise<Started> =>
  JSON.parse(String((await lines.next()).value)) as Started;

describe('an agent that is killed', () => {
  it('leaves its containers running; the next one adopts them, with the same start, and hears their end', async () => {
    const { agent, lines } = await spawnAgent([
      fixture.spec('stays', ['sh', '-c', 'sleep 5; exit 9']),
      fixture.spec('ends', ['sh', '-c', 'sleep 0.2; exit 3']),
    ]);
    const [stays, ends] = [await nextStarted(lines), await nextStarted(lines)];
    await kill(agent);
    await sleep(500);
    const runtime = await fixture.open();
    const told: string[] = [];
    runtime.onExit((id, exit) => told.push(`${id} ${String(exit.exitCode)}`));
    const end = exitOf(runtime, 'stays');
    const listed = new Map((await runtime.list()).map(({ id, state }) => [id, state]));
    const { pid, startedAtMs } = stays;
    expect(listed.get('stays')).toEqual({ kind: 'running', pid, startedAtMs });
    expect(listed.get('ends')).toMatchObject({
      kind: 'ended',
      startedAtMs: ends.startedAtMs,
      exit: { exitCode: 3, oomKilled: false },
    });
    expect(await end).toMatchObject({ exitCode: 9 });
    await sleep(500);
    expect(told).toEqual(['stays 9']);
    await runtime.close();
  });

  it.skipIf(layout.unified === undefined)(
    'is killed with its cgroup alone: containers and their monitors live elsewhere',
    async () => {
      const { agent, lines } = await spawnAgent([fixture.spec('apart', ['sleep', '60'])]);
      const { pid } = await nextStarted(lines);
      writeFileSync(cgroupFile('agent/cgroup.kill'), '1');
      await once(agent, 'exit');
      await sleep(100);
      expect(await identifyPid(pid, await readBootId())).toBeDefined();
      const runtime = await fixture.open();
      const end = exitOf(runtime, 'apart');
      expect((await runtime.list())[0]?.state.kind).toBe('running');
      await runtime.kill('apart', 'SIGKILL');
      expect((await end).exitCode).toBe(137);
      await runtime.close();
    },
  );

  it.each([1, 5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 90])(
    'leaves nothing half-made, %i ms into its work',
    async (ms) => {
      const { agent } = await spawnAgent([fixture.spec('half', ['sleep', '60'])]);
      await sleep(ms);
      await kill(agent);
      const runtime = await fixture.open();
      const listed = await runtime.list();
      if (listed.length === 0) {
        // What it had launched may still be on its way: nothing of it may come to life behind our back.
        await sleep(150);
        expect(await fixture.traces()).toEqual(nothing);
      } else {
        expect(['created', 'running']).toContain(listed[0]?.state.kind);
        if (listed[0]?.state.kind === 'created') await runtime.start('half');
        await runtime.remove('half');
        expect(await fixture.traces()).toEqual(nothing);
      }
      await runtime.close();
    },
  );
});

describe('a power cut', () => {
  it.skipIf(layout.unified === undefined)(
    'kills agent, monitors and containers at one stroke; the next agent finds them ended and removes them',
    async () => {
      const { agent, lines } = await spawnAgent([
        fixture.spec('one', ['sleep', '60']),
        fixture.spec('two', ['sh', '-c', 'sleep 60 & sleep 60']),
      ]);
      const [one, two] = [await nextStarted(lines), await nextStarted(lines)];
      writeFileSync(cgroupFile('cgroup.kill'), '1');
      await once(agent, 'exit');
      await expect.poll(async () => (await fixture.traces()).pids, { timeout: 5_000 }).toEqual([]);
      expect(await identifyPid(one.pid, await readBootId())).toBeUndefined();
      expect((await fixture.traces()).mounts).toHaveLength(2);
      const runtime = await fixture.open();
      const listed = new Map((await runtime.list()).map(({ id, state }) => [id, state]));
      for (const started of [one, two]) {
        expect(listed.get(started.id)).toMatchObject({
          kind: 'ended',
          startedAtMs: started.startedAtMs,
          exit: { oomKilled: false, reason: expect.stringContaining('exit code unknown') as string },
        });
        await runtime.remove(started.id);
      }
      expect(await fixture.traces()).toEqual(nothing);
      await runtime.close();
    },
  );

  it('with a reboot in between: pids of another boot mean nothing', async () => {
    const { agent, lines } = await spawnAgent([fixture.spec('boot', ['sleep', '60'])]);
    await nextStarted(lines);
    await kill(agent);
    const path = join(fixture.options.dataDir, 'containers/boot/record.json');
    const { bootId } = (JSON.parse(readFileSync(path, 'utf8')) as { process: { bootId: string } }).process;
    writeFileSync(path, readFileSync(path, 'utf8').replaceAll(bootId, '00000000-0000-0000-0000-000000000000'));
    const runtime = await fixture.open();
    const [booted] = await runtime.list();
    expect(booted?.state).toMatchObject({ kind: 'ended' });
    expect(booted?.state).not.toHaveProperty('exit.exitCode');
    await runtime.remove('boot');
    await runtime.close();
  });
});

describe('a monitor that is killed', () => {
  it('does not end its container for us; the end is told, its code unknown', async () => {
    const runtime = await fixture.open();
    // Its output goes nowhere without the monitor: a container that writes may die of it, this one is quiet.
    await runtime.create(fixture.spec('alone', ['sleep', '1.5']), never);
    const { pid } = await runtime.start('alone');
    const conmon = Number(readFileSync(join(fixture.options.dataDir, 'containers/alone/conmon.pid'), 'utf8'));
    process.kill(conmon, 'SIGKILL');
    await sleep(600);
    expect((await runtime.list())[0]?.state).toMatchObject({ kind: 'running', pid });
    const exit = await exitOf(runtime, 'alone');
    expect(exit.oomKilled).toBe(false);
    expect(exit.exitCode).toBeUndefined();
    expect(exit.reason).toContain('exit code unknown');
    await runtime.remove('alone');
    await runtime.close();
  });
});

describe('the sweep at start', () => {
  it('removes folders without a record, stray exit files and stray cgroups', async () => {
    const { dataDir, runDir, cgroupParent } = fixture.options;
    mkdirSync(join(dataDir, 'containers/torn/upper'), { recursive: true });
    writeFileSync(join(dataDir, 'containers/torn/record.json'), '{"version":1,"id":"to');
    mkdirSync(join(runDir, 'exits'), { recursive: true });
    writeFileSync(join(runDir, 'exits/gone'), '0');
    writeFileSync(join(runDir, 'exits/gone.ABC123'), '');
    await makeCgroup(fixture.layout, join(cgroupParent, 'containers/stray'));
    const runtime = await fixture.open();
    expect(await runtime.list()).toEqual([]);
    expect(await fixture.traces()).toEqual(nothing);
    await runtime.close();
  });

  it('lets remove be called for what is not there, and twice', async () => {
    const runtime = await fixture.open();
    await runtime.remove('nobody');
    await runtime.create(fixture.spec('some', ['sleep', '60']), never);
    await Promise.all([runtime.remove('some'), runtime.remove('some')]);
    expect(await runtime.list()).toEqual([]);
    await runtime.close();
  });
});

/** A file of the node's cgroup in the v2 tree. */
function cgroupFile(name: string): string {
  return join(layout.unified ?? '', fixture.options.cgroupParent, name);
}
