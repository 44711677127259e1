/**
 * A node whose disk is full: its tasks are rejected with the place, what is free and what to do; what runs there serves on,
 * also while the agent dies and comes back; and once there is room it goes on by itself. And one whose disk does not answer.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeSmallDisk } from '../builders/small-disk.ts';
import type { SmallDisk } from '../builders/small-disk.ts';
import { answers, eventually, killPid, must, pidOfPart, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox, serveCommand } from './images.ts';

/** The node keeps 64 MiB free of images; the rest is for one small image and a little more. */
const diskBytes = 160_000_000;

let cluster: TestCluster;
let disk: SmallDisk | undefined;
let folder = '';

beforeAll(async () => {
  cluster = await startTestCluster('full', 1);
  expect((await cluster.down()).code).toBe(0);
  disk = makeSmallDisk('ext4', diskBytes);
  folder = `/var/lib/frota/clusters/${cluster.name}/n1`;
  await must('cp', ['-a', `${folder}/.`, disk.path]);
  await must('mount', ['--bind', disk.path, folder]);
  const up = await cluster.up();
  expect(up.code, up.stderr).toBe(0);
});
afterAll(async () => {
  await stopTestCluster(cluster);
  spawnSync('umount', ['-l', folder]);
  disk?.remove();
});

const stack = (name: string, image: string, port: number): string =>
  `name: ${name}\nservices: {web: {image: "${image}", command: ["sh", "-c", ${JSON.stringify(serveCommand(8080))}], ports: ["${String(port)}:8080"], stop_grace_period: 0s}}\n`;

/** Not a byte: not even the record of a task finds room. A little: no image does. */
const fillings = [
  {
    leaveBytes: 0,
    words:
      /cannot record it: the disk is full: no room for .*\.json in .*\/n1\/journal\/tasks \(0\.0 MB of [\d.]+ MB are free\); make room there/,
  },
  {
    leaveBytes: 40_000_000,
    words:
      /test\/other:1@sha256:[0-9a-f]+: the disk is full: no room for .* of layer .* \([34]\d\.\d MB of [\d.]+ MB are free, of which 67\.1 MB are to stay free\); make room there/,
  },
];

it('says what is full, harms nothing that runs, and goes on by itself', async () => {
  const first = await pushBusybox(cluster.registry);
  const more = [{ entries: [{ type: 'file', path: 'more', content: randomBytes(1_000_000) }] }] as const;
  const second = await pushBusybox(cluster.registry, 'test/other:1', {}, more);
  const applied = await cluster.apply(stack('before', first, 8080), '--wait');
  expect(applied.code, applied.stderr).toBe(0);
  const address = (await cluster.nodes())[0]?.address ?? '';
  const runs = `http://${address}:8080/`;
  const before = await answers(runs, 3);

  for (const { leaveBytes, words } of fillings) {
    disk?.makeRoom();
    disk?.fill(leaveBytes);
    const waited = await cluster.apply(stack('after', second, 8081), '--wait');
    expect(waited.code).not.toBe(0);
    expect(waited.stderr).toMatch(words);
    expect(waited.stderr).toContain('n1');
    const rejected = (await cluster.tasks('--all')).filter(
      ({ stack: name, state }) => name === 'after' && state === 'rejected',
    );
    expect(rejected.map(({ node }) => node)).toContain('n1');
    expect(rejected.map(({ reason }) => reason).join('\n')).toMatch(words);
    expect(await answers(runs, 3)).toEqual(before);
    expect((await cluster.frota('rm', 'after', '--wait')).code).toBe(0);
  }

  // The agent of a full node dies: the next one finds everything again.
  disk?.fill();
  expect((await cluster.apply(stack('after', second, 8081))).code).toBe(0);
  killPid(await pidOfPart(cluster, 'n1'));
  await sleep(500);
  expect(await answers(runs, 3)).toEqual(before);
  await eventually(async () => {
    expect(await pidOfPart(cluster, 'n1')).toBeGreaterThan(0);
    expect((await cluster.nodes())[0]?.state).toBe('ready');
  });
  await eventually(async () => {
    expect(
      (await cluster.tasks('--all')).some(({ stack: name, state }) => name === 'after' && state === 'rejected'),
    ).toBe(true);
  });
  const agent = await pidOfPart(cluster, 'n1');
  expect(await answers(runs, 3)).toEqual(before);

  disk?.makeRoom();
  await eventually(async () => {
    expect((await answers(`http://${address}:8081/`, 1)).size).toBe(1);
  }, 45_000);
  expect(await answers(runs, 3)).toEqual(before);
  expect(await pidOfPart(cluster, 'n1')).toBe(agent);
});

it('that does not answer: the node says so and takes no new task, though its heart beats; then it goes on', async () => {
  const image = await pushBusybox(cluster.registry);
  const shown = async () => (await cluster.nodes())[0];
  await must('fsfreeze', ['--freeze', disk?.path ?? '']);
  try {
    await eventually(async () => {
      expect(await shown()).toMatchObject({ state: 'ready', notes: [expect.stringMatching(/not accepting tasks: its disk|not accepting tasks: its agent's main thread/u)] });
    }); // prettier-ignore
    const waited = await cluster.apply(stack('meanwhile', image, 8082), '--wait', '--timeout', '3s');
    expect(waited.code).not.toBe(0);
    expect(waited.stderr).toContain('not accepting tasks');
    expect((await shown())?.state).toBe('ready');
  } finally {
    await must('fsfreeze', ['--unfreeze', disk?.path ?? '']);
  }
  await eventually(async () => {
    expect(await shown()).toMatchObject({ state: 'ready', notes: [] });
    const tasks = await cluster.tasks();
    expect(tasks.find(({ stack: name }) => name === 'meanwhile')?.state).toBe('running');
  }, 30_000); // prettier-ignore
});
