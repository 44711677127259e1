/** Drills on a real cluster: each kind hurts what it says, is reported in phases, and leaves nothing behind. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { DrillReport, DrillState } from '../../proto/domain/drill.ts';
import { command, eventually, pidOfPart, pidsInCgroup, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox, webCompose } from './images.ts';

type Shown = DrillReport & {
  readonly id: string;
  readonly kind: string;
  readonly state: DrillState;
  readonly node: string | null;
  readonly service: string | null;
};

/** What is held here is that drills are right, on whatever machine; how fast failover is, the benchmark measures. */
const slo = 'recovery<10s,lost=0';
const nodeNames = ['n1', 'n2', 'n3', 'n4'];

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await startTestCluster('drill', 4);
  const image = await pushBusybox(cluster.registry);
  const applied = await cluster.apply(webCompose(image, 6, 'stop_grace_period: 1s'), '--wait', '--timeout', '60s');
  expect(applied.code, applied.stderr).toBe(0);
});
afterAll(() => stopTestCluster(cluster));
/** The cluster is well again after the drill before. */
beforeEach(() =>
  eventually(async () => (await cluster.frota('drill', 'run', 'agent-kill', '--dry-run')).code === 0, 60_000, 500),
);

async function drill(kind: string, ...args: string[]): Promise<{ readonly code: number; readonly shown: Shown }> {
  const result = await cluster.frota('drill', 'run', kind, '--slo', slo, '--for', '10s', '-o', 'json', ...args);
  expect(result.stdout, result.stderr).not.toBe('');
  const shown = JSON.parse(result.stdout) as Shown;
  await nothingIsLeft();
  return { code: result.code, shown };
}

/** No rules, no process, no control group of a drill; nothing that stands still. */
async function nothingIsLeft(): Promise<void> {
  await eventually(async () => {
    for (const node of nodeNames) {
      const namespace = `/run/netns/frota-${cluster.name}-${node}`;
      const tables = await command('nsenter', [`--net=${namespace}`, 'nft', 'list', 'tables']);
      expect(tables.stdout).not.toContain('frota_drill');
    }
    const root = await readFile('/sys/fs/cgroup/unified/cgroup.procs').then(
      () => '/sys/fs/cgroup/unified',
      () => '/sys/fs/cgroup',
    );
    const groups = await command('find', [join(root, 'frota', cluster.name), '-mindepth', '1', '-name', '*-drill']);
    expect(groups.stdout).toBe('');
    const frozen = await command('grep', ['-rl', '^1', join(root, 'frota', cluster.name), '--include=cgroup.freeze']);
    expect(frozen.stdout).toBe('');
    for (const pid of await pidsInCgroup(`/frota/${cluster.name}`)) {
      const args = await readFile(`/proc/${String(pid)}/cmdline`, 'utf8').catch(() => '');
      expect(args).not.toContain('drill-undo');
    }
    return true;
  });
}

function expectPassed({ code, shown }: { readonly code: number; readonly shown: Shown }): void {
  expect({ code, verdict: shown.verdict, reason: shown.reason }, JSON.stringify(shown)).toEqual({
    code: 0,
    verdict: 'passed',
    reason: null,
  });
  expect(shown.undo.confirmed).toBe(true);
  expect(shown.probe?.sent).toBeGreaterThan(300);
}

/** Each lost task has its successor elsewhere, with every phase, in the order in which they happen. */
function expectReplaced(shown: Shown): void {
  for (const { task, replacement, phasesMs } of shown.tasks) {
    expect(replacement?.slot).toBe(task.slot);
    const { confirmed, committed, received, created, running, endpoint, answering } = phasesMs;
    const order = [confirmed, committed, received, created, running];
    expect(order).toEqual([...order].sort((a, b) => (a ?? -1) - (b ?? -1)));
    // Counted on the clock of the node that asks.
    expect(answering).toBeGreaterThanOrEqual(endpoint ?? Infinity);
    expect(shown.recoveryMs).toBeGreaterThanOrEqual(answering ?? Infinity);
  }
}

describe('a drill', () => {
  it('node-loss: the tasks of the node with most of them are replaced elsewhere; the node comes back', async () => {
    const result = await drill('node-loss');
    expectPassed(result);
    const { shown } = result;
    expect(shown.tasks).toHaveLength(2);
    expect(new Set(shown.tasks.map(({ task }) => task.node))).toEqual(new Set([shown.node]));
    expect(shown.tasks.every(({ replacement }) => replacement?.node !== shown.node)).toBe(true);
    expect(shown.tasks.every(({ phasesMs }) => (phasesMs.suspected ?? 0) > 300)).toBe(true);
    expectReplaced(shown);
    expect(shown.undo.by).toBe('stop');
    const nodes = await cluster.nodes();
    expect(nodes.find(({ name }) => name === shown.node)?.state).toBe('ready');
  });

  it('container-kill: one task is replaced', async () => {
    const result = await drill('container-kill', '--service', 'web');
    expectPassed(result);
    expect(result.shown.tasks).toHaveLength(1);
    expect(result.shown.tasks[0]?.phasesMs.suspected).toBeNull();
    expectReplaced(result.shown);
  });

  it('agent-kill: another agent answers, nothing is lost, no request fails', async () => {
    const before = await pidOfPart(cluster, 'n2');
    const result = await drill('agent-kill', '--node', 'n2');
    expectPassed(result);
    expect(await pidOfPart(cluster, 'n2')).not.toBe(before);
    expect(result.shown.tasks).toEqual([]);
    expect(result.shown.recoveryMs).toBeGreaterThan(50);
    expect(result.shown.probe?.failed).toBe(0);
  });

  it('node-freeze: what stands still is replaced, and thawed', async () => {
    const before = await pidOfPart(cluster, 'n3');
    const result = await drill('node-freeze', '--node', 'n3');
    expectPassed(result);
    expect(result.shown.tasks.length).toBeGreaterThan(0);
    expectReplaced(result.shown);
    expect(await pidOfPart(cluster, 'n3')).toBe(before);
  });

  it('partition: peers hear the node, so nothing is moved, and its containers answer on', async () => {
    const ids = async () => (await cluster.tasks()).map(({ id, node }) => [id, node]);
    const before = await ids();
    expect(before.some(([, node]) => node === 'n4')).toBe(true);
    const result = await drill('partition', '--node', 'n4');
    expectPassed(result);
    expect(result.shown.tasks).toEqual([]);
    expect(result.shown.probe?.failed).toBe(0);
    expect(await ids()).toEqual(before);
    const { stdout } = await cluster.frota('events', 'n4');
    expect(stdout).toContain('its peers hear it, this controller does not');
  });

  it('controller-kill: the next controller finishes the report, the caller gets it, everything serves on', async () => {
    const before = await pidOfPart(cluster, 'c1');
    const result = await drill('controller-kill');
    expectPassed(result);
    expect(await pidOfPart(cluster, 'c1')).not.toBe(before);
    expect(result.shown.node).toBeNull();
    expect(result.shown.tasks).toEqual([]);
    expect(result.shown.recoveryMs).toBeGreaterThan(100);
    expect(result.shown.probe?.failed).toBe(0);
  });

  it('that is not met fails, with a status of its own', async () => {
    const result = await cluster.frota(
      'drill',
      'run',
      'agent-kill',
      '--slo',
      'recovery<1ms',
      '--for',
      '4s',
      '-o',
      'json',
    );
    expect(result.code, result.stderr).toBe(6);
    expect(JSON.parse(result.stdout)).toMatchObject({ verdict: 'failed', reason: 'not met: recovery<1ms' });
  });

  it('is refused with every reason, before anything is hurt', async () => {
    const result = await cluster.frota('drill', 'run', 'node-loss', '--node', 'n9', '--service', 'wev', '-o', 'json');
    expect(result.code).toBe(8);
    expect(JSON.parse(result.stdout)).toMatchObject({
      verdict: 'refused',
      refusals: [{ kind: 'unknown' }, { kind: 'unknown', message: 'there is no node "n9"; there are: n1, n2, n3, n4' }],
    });
    const wrong = await cluster.frota('drill', 'run', 'node-loss', '--slo', 'recovery<2');
    expect([wrong.code, wrong.stderr]).toEqual([
      2,
      expect.stringContaining('--slo, character 10: recovery takes a duration') as string,
    ]);
    const path = await cluster.frota('drill', 'run', 'node-loss', '--path', 'x');
    expect(path.code).toBe(2);
  });
});

describe('a drill that does not last', () => {
  /** `drill run` as a person's shell would have it, and its id once something is hurt. */
  async function begun(): Promise<{ readonly child: ChildProcess; readonly id: string; readonly said: () => string }> {
    const environment = { FROTA_CONFIG_DIR: join(cluster.folder, 'config'), FROTA_CONTEXT: cluster.name };
    const program = join(import.meta.dirname, '../../bin/frota');
    const args = [program, 'drill', 'run', 'node-loss', '--for', '5m', '-o', 'json'];
    const child = spawn(process.execPath, args, { env: { ...process.env, ...environment } });
    let said = '';
    child.stdout.on('data', (text: Buffer) => (said += text.toString()));
    const id = await eventually(async () => {
      const running = (await drills()).find(({ state }) => state === 'fault');
      return running?.id ?? false;
    });
    return { child, id: String(id), said: () => said };
  }
  const drills = () => cluster.json<Shown[]>('drill', 'ls');

  async function expectAborted(id: string, reason: RegExp): Promise<void> {
    const [shown] = (await drills()).filter((each) => each.id === id);
    expect([shown?.state, shown?.verdict]).toEqual(['ended', 'aborted']);
    expect(shown?.reason).toMatch(reason);
    expect(shown?.undo.confirmed).toBe(true);
    await nothingIsLeft();
  }

  it('ends at once by stop; another one is refused meanwhile', async () => {
    const { child, id } = await begun();
    const ended = once(child, 'exit');
    const second = await cluster.frota('drill', 'run', 'agent-kill');
    expect([second.code, second.stdout]).toEqual([8, expect.stringContaining(`drill ${id} is not over`) as string]);
    const stopped = await cluster.json<Shown>('drill', 'stop', id);
    expect(stopped.verdict).toBe('aborted');
    expect((await ended)[0]).toBe(7);
    await expectAborted(id, /^stopped by admin$/u);
    expect((await cluster.frota('drill', 'show', id)).stdout).toContain('aborted: stopped by admin');
  });

  it('ends by Ctrl-C, with its report', async () => {
    const { child, id, said } = await begun();
    const ended = once(child, 'exit');
    child.kill('SIGINT');
    expect((await ended)[0]).toBe(7);
    expect(JSON.parse(said())).toMatchObject({ id, verdict: 'aborted' });
    await expectAborted(id, /^stopped by admin$/u);
  });

  it('ends when who ran it is gone', async () => {
    const { child, id } = await begun();
    child.kill('SIGKILL');
    await eventually(async () => (await drills()).find((each) => each.id === id)?.state === 'ended', 40_000);
    await expectAborted(id, /admin, who ran it, has left/u);
  });

  it('of a controller that dies is undone and reported by the next one', async () => {
    const { child, id } = await begun();
    process.kill(await pidOfPart(cluster, 'c1'), 'SIGKILL');
    await once(child, 'exit');
    await expectAborted(id, /the controller was restarted meanwhile/u);
  });
});
