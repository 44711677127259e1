/**
 * No living node is called unreachable or down, and none of its endpoints goes; beside it how fast a real loss is seen. Each trouble
 * for `FROTA_FALSE_ALARM_MS`; one alone by its name: `-t saturated`, `-t unpacks`, `-t datagrams`, `-t 'stands still'`.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, must, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { underLoad, unpackingOn, watchAlarms, withFreezes, withLoss } from './false-alarms.ts';
import type { Alarms } from './false-alarms.ts';
import { pushBusybox, webCompose } from './images.ts';

const nodeNames = ['n1', 'n2', 'n3'];
/** Of each trouble; ten minutes each are a matter for a night. */
const forMs = Number(process.env['FROTA_FALSE_ALARM_MS'] ?? 30_000);
/** Beside the trouble itself: reading states and endpoints, and what has to be made ready for it. */
const timeoutMs = forMs + 120_000;
let cluster: TestCluster;

beforeAll(async () => {
  cluster = await startTestCluster('alarms');
  const image = await pushBusybox(cluster.registry);
  const applied = await cluster.apply(webCompose(image, 3), '--wait', '--timeout', '60s');
  expect(applied.code, applied.stderr).toBe(0);
  await eventually(async () => (await watchAlarms(cluster, nodeNames, 0)).fewestEndpoints === 3);
});
afterAll(() => stopTestCluster(cluster));

function expectNone({ states, readings, fewestEndpoints }: Alarms): void {
  expect(states).toEqual([]);
  expect(readings).toBeGreaterThan(10);
  expect(fewestEndpoints).toBe(3);
}

describe('no false alarm', { timeout: timeoutMs }, () => {
  const watched = (): Promise<Alarms> => watchAlarms(cluster, nodeNames, forMs);

  it('with both cores saturated', async () => {
    expectNone(await underLoad(watched));
  });

  it('with an agent that unpacks a large image', async () => {
    const { alarms, unpacked } = await unpackingOn(cluster, 'n2', watched);
    process.stdout.write(`unpacked meanwhile: ${String(unpacked)} images\n`);
    expect(unpacked).toBeGreaterThan(0);
    expectNone(alarms);
  });

  it('with a fifth of all datagrams lost', async () => {
    expectNone(await withLoss(cluster, nodeNames, watched));
  });

  it('with a controller that stands still for 2 s again and again', async () => {
    expectNone(await withFreezes(cluster, watched));
  });

  it('and a real loss is seen in the same cluster', async () => {
    const cut = performance.now();
    await must('ip', ['-n', `frota-${cluster.name}-n2`, 'link', 'set', 'eth0', 'down']);
    await eventually(
      async () => (await cluster.nodes()).find(({ name }) => name === 'n2')?.state === 'down',
      5_000,
      20,
    );
    const detectedMs = Math.round(performance.now() - cut);
    process.stdout.write(`link cut → down, as frota node ls shows it: ${String(detectedMs)} ms\n`);
    expect(detectedMs).toBeLessThan(3_000);
    await must('ip', ['-n', `frota-${cluster.name}-n2`, 'link', 'set', 'eth0', 'up']);
    await eventually(async () => (await cluster.nodes()).every(({ state }) => state === 'ready'));
  });
});
