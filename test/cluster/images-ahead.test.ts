/** A failover waits for no pull: a node that runs none of a service has its image already, and the service is placed there. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually, killCgroup, must, pidsInCgroup, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox, serveCommand } from './images.ts';

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startTestCluster('ahead', 4);
});
afterAll(() => stopTestCluster(cluster));

/** Names of the nodes that have a whole image. */
async function nodesWithImages(): Promise<readonly string[]> {
  const names = ['n1', 'n2', 'n3', 'n4'];
  const counts = await Promise.all(
    names.map(async (name) => {
      const folder = join('/var/lib/frota/clusters', cluster.name, name, 'images', 'records');
      return (await readdir(folder).catch(() => [])).length;
    }),
  );
  return names.filter((_, index) => (counts[index] ?? 0) > 0);
}

/** The registry stands still: it takes connections and answers nothing. */
async function signalRegistry(signal: 'SIGSTOP' | 'SIGCONT'): Promise<void> {
  const pids = await pidsInCgroup(`/frota/${cluster.name}/registry`);
  expect(pids.length).toBeGreaterThan(0);
  for (const pid of pids) process.kill(pid, signal);
}

it('the lost task runs on the spare node though no registry answers', async () => {
  const image = await pushBusybox(cluster.registry);
  const applied = await cluster.apply(
    `
name: lone
services:
  web:
    image: ${image}
    command: ["sh", "-c", ${JSON.stringify(serveCommand(8080))}]
    stop_grace_period: 0s
`,
    '--wait',
  );
  expect(applied.code, applied.stderr).toBe(0);
  const first = (await cluster.tasks())[0]?.node ?? '';
  // One spare and no more.
  const spare = await eventually(async () => {
    const others = (await nodesWithImages()).filter((name) => name !== first);
    expect(others).toHaveLength(1);
    return others[0] ?? '';
  }, 30_000);
  await signalRegistry('SIGSTOP');
  try {
    await must('ip', ['-n', `frota-${cluster.name}-${first}`, 'link', 'set', 'eth0', 'down']);
    await killCgroup(`/frota/${cluster.name}/${first}`);
    await eventually(async () => {
      expect((await cluster.tasks()).map(({ node, state }) => [node, state])).toEqual([[spare, 'running']]);
    }, 10_000);
  } finally {
    await signalRegistry('SIGCONT');
  }
  // The next one is chosen: three nodes have it now, of which one is lost.
  await eventually(async () => {
    expect(await nodesWithImages()).toHaveLength(3);
  }, 30_000);
});
