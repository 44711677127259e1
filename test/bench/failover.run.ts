/** From a fault to the last replacement running, as the controller's own stream tells it: node loss and killed containers. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectControl } from '../../cli/commands/connect.ts';
import type { Control, StackProgress } from '../../cli/commands/control.ts';
import { readContexts } from '../../cli/contexts/contexts-file.ts';
import {
  eventually,
  killCgroup,
  killPid,
  must,
  containerPids,
  startTestCluster,
  stopTestCluster,
} from '../cluster/cluster.ts';
import type { TestCluster } from '../cluster/cluster.ts';
import { pushBusybox, serveCommand } from '../cluster/images.ts';
import { report } from './samples.ts';

const rounds = Number(process.env['ROUNDS'] ?? '10');
const replicas = 6;
const nodes = 4;

let cluster: TestCluster;
let control: Control;

beforeAll(async () => {
  cluster = await startTestCluster('bench', nodes);
  const context = (await readContexts(join(cluster.folder, 'config'))).contexts[cluster.name];
  if (context === undefined) throw new Error(`no context ${cluster.name}`);
  control = connectControl(context);
  const image = await pushBusybox(cluster.registry);
  const applied = await cluster.apply(
    `name: app\nservices: {web: {image: "${image}", command: ["sh", "-c", ${JSON.stringify(serveCommand(8080))}], ports: ["8080:8080"], stop_grace_period: 1s, deploy: {replicas: ${String(replicas)}}}}\n`,
    '--wait',
  );
  expect(applied.code, applied.stderr).toBe(0);
}, 120_000);

afterAll(async () => {
  control.close();
  await stopTestCluster(cluster);
}, 60_000);

/** Milliseconds from `fault` until `reached`. */
async function measure(fault: () => Promise<void>, reached: (progress: StackProgress) => boolean): Promise<number> {
  const abort = new AbortController();
  let startedAt = Infinity;
  try {
    for await (const progress of control.watchStack('app', abort.signal)) {
      if (startedAt === Infinity) {
        await fault();
        startedAt = performance.now();
      } else if (reached(progress)) return performance.now() - startedAt;
    }
  } finally {
    abort.abort();
  }
  throw new Error('the watch ended');
}

const settled = (progress: StackProgress): boolean => progress.converged;

it('node loss', { timeout: rounds * 30_000 }, async () => {
  const samples: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const node = `n${String(2 + (round % (nodes - 1)))}`;
    await eventually(async () =>
      (await control.listNodes(AbortSignal.timeout(5_000))).every(({ state }) => state === 'ready'),
    );
    const namespace = `frota-${cluster.name}-${node}`;
    // Scaling down and up spreads the replicas again, so that the node has some to lose.
    await cluster.frota('scale', `web=1`, '--wait');
    await cluster.frota('scale', `web=${String(replicas)}`, '--wait');
    samples.push(
      await measure(
        async () => {
          await must('ip', ['-n', namespace, 'link', 'set', 'eth0', 'down']);
          await killCgroup(`/frota/${cluster.name}/${node}`);
        },
        (progress) =>
          settled(progress) && progress.tasks.every((task) => task.state !== 'running' || task.node !== node),
      ),
    );
    await must('ip', ['-n', namespace, 'link', 'set', 'eth0', 'up']);
  }
  report('node loss → last replacement running', samples);
});

it('container killed', { timeout: rounds * 20_000 }, async () => {
  const samples: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    // A task that has run for a while is replaced without delay; a quick end twice in a row would wait.
    await eventually(async () =>
      (await control.listTasks({ all: false }, AbortSignal.timeout(5_000))).every(({ state }) => state === 'running'),
    );
    const tasks = await control.listTasks({ all: false }, AbortSignal.timeout(5_000));
    const victim = tasks[round % tasks.length];
    const pid = (await containerPids(cluster)).get(victim?.id ?? '') ?? 0;
    expect(pid).toBeGreaterThan(0);
    samples.push(
      await measure(
        () => {
          killPid(pid);
          return Promise.resolve();
        },
        (progress) => settled(progress) && progress.tasks.every((task) => task.id !== victim?.id),
      ),
    );
    await sleep(500);
  }
  report('container killed → replacement running', samples);
});
