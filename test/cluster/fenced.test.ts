/**
 * A fenced service never runs twice, whatever dies. Its containers say so themselves: each writes its token and the time to one file
 * that all share, twenty times a second. Two that run at the same time would mix their lines.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, freezeCgroup, killPid, must, pidOfPart, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox } from './images.ts';

const leaseMs = 3_000;
let cluster: TestCluster;
let witness: string;

interface Line {
  readonly token: number;
  /** Seconds since boot: all nodes of the test are one machine. */
  readonly atS: number;
}

async function lines(): Promise<readonly Line[]> {
  const text = await readFile(join(witness, 'log'), 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split(' ').map(Number))
    .map(([token = NaN, atS = NaN]) => ({ token, atS }));
}

/** Tokens only grow: once a later container has written, no earlier one does. */
async function neverTwo(): Promise<void> {
  const all = await lines();
  expect(all.length).toBeGreaterThan(20);
  all.forEach(({ token, atS }, index) => {
    const before = all[index - 1];
    if (before === undefined) return;
    expect(token, `line ${String(index)} at ${String(atS)} s`).toBeGreaterThanOrEqual(before.token);
  });
}

const running = () =>
  eventually(async () => {
    const [task] = (await cluster.tasks('writer')).filter(({ state }) => state === 'running');
    if (task === undefined) throw new Error('no task runs');
    const last = (await lines()).at(-1);
    if (last === undefined) throw new Error('nothing is written');
    return { ...task, token: last.token };
  }, 30_000);

/** Until another container than the one with this token writes. */
const nextWriter = (token: number, withinMs = 20_000) =>
  eventually(async () => {
    const last = (await lines()).at(-1);
    if (last === undefined || last.token <= token) throw new Error(`${String(token)} was the last to write`);
    return last;
  }, withinMs, 50); // prettier-ignore

const link = (node: string | null, state: 'up' | 'down') =>
  must('ip', ['-n', `frota-${cluster.name}-${node ?? ''}`, 'link', 'set', 'eth0', state]);
const allReady = () => eventually(async () => (await cluster.nodes()).every(({ state }) => state === 'ready'), 30_000);

beforeAll(async () => {
  cluster = await startTestCluster('fenced');
  witness = join(cluster.folder, 'witness');
  await mkdir(witness);
  await writeFile(join(witness, 'log'), '');
  const image = await pushBusybox(cluster.registry);
  const command = 'while read up rest </proc/uptime; do echo "$$FROTA_FENCE $$up" >>/witness/log; sleep 0.05; done';
  const compose = `
name: app
services:
  writer:
    image: ${image}
    command: ["sh", "-c", ${JSON.stringify(command)}]
    volumes: ["${witness}:/witness"]
    stop_grace_period: 1s
    x-frota: {failover: fenced, lease: ${String(leaseMs / 1_000)}s}
`;
  const applied = await cluster.apply(compose, '--wait', '--timeout', '60s');
  expect(applied.code, applied.stderr).toBe(0);
});
afterAll(() => stopTestCluster(cluster));
afterEach(neverTwo);

describe('a fenced service', () => {
  it('writes on under one token when its agent is killed: the next agent adopts it within the lease', async () => {
    const { node, token } = await running();
    const old = await pidOfPart(cluster, node ?? '');
    killPid(old);
    await eventually(async () => {
      expect(await pidOfPart(cluster, node ?? '')).not.toBe(old);
    });
    await allReady();
    await sleep(leaseMs + 1_000);
    const after = await running();
    expect([after.node, after.token]).toEqual([node, token]);
  });

  it('ends with its lease when its agent is frozen, then runs elsewhere; the agent that thaws starts nothing', async () => {
    const { node, token } = await running();
    const pid = await pidOfPart(cluster, node ?? '');
    process.kill(pid, 'SIGSTOP');
    try {
      await nextWriter(token);
      expect((await running()).node).not.toBe(node);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await allReady();
    await sleep(1_000);
  });

  it('ends with its lease when the link is cut; ps says what its slot waits for meanwhile', async () => {
    const { node, token } = await running();
    await link(node, 'down');
    try {
      await eventually(async () => {
        const reasons = (await cluster.tasks('writer')).map(({ reason }) => reason);
        expect(reasons.join()).toContain('its lease may still hold');
      }, 5_000);
      await nextWriter(token);
      expect((await running()).node).not.toBe(node);
    } finally {
      await link(node, 'up');
    }
    await allReady();
    await sleep(1_000);
  });

  it('ends with its lease while no controller answers for longer than that, and is replaced by the next answer', async () => {
    const { token } = await running();
    await freezeCgroup(`/frota/${cluster.name}/c1`, true);
    const frozenMs = performance.now();
    try {
      await sleep(2 * leaseMs);
      const last = (await lines()).at(-1);
      expect(last?.token).toBe(token);
      const nowS = Number((await readFile('/proc/uptime', 'utf8')).split(' ')[0]);
      // It stopped writing by itself, a lease after the last answer.
      expect(nowS - (last?.atS ?? 0)).toBeGreaterThan((performance.now() - frozenMs - leaseMs - 600) / 1_000);
    } finally {
      await freezeCgroup(`/frota/${cluster.name}/c1`, false);
    }
    await nextWriter(token);
    await allReady();
  });

  it('outlives a controller that is restarted; the new one, with a lost node, waits a whole lease first', async () => {
    const { node, token } = await running();
    const old = await pidOfPart(cluster, 'c1');
    killPid(old);
    await eventually(async () => (await pidOfPart(cluster, 'c1')) !== old);
    await allReady();
    await sleep(leaseMs);
    expect((await running()).token).toBe(token);

    await link(node, 'down');
    killPid(await pidOfPart(cluster, 'c1'));
    const killedMs = performance.now();
    try {
      await nextWriter(token);
      expect(performance.now() - killedMs).toBeGreaterThan(leaseMs);
      expect((await running()).node).not.toBe(node);
    } finally {
      await link(node, 'up');
    }
    await allReady();
    await sleep(1_000);
  });
});
