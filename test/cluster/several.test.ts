/** Several local clusters at once: each with its own subnet, registry, context and names, and none in another's way. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { answers, eventually, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox, serveCommand } from './images.ts';

let one: TestCluster | undefined;
let two: TestCluster | undefined;

beforeAll(async () => {
  one = await startTestCluster('one', 1);
  two = await startTestCluster('two', 1);
});
afterAll(async () => {
  await stopTestCluster(two);
  await stopTestCluster(one);
});

async function serveOn(cluster: TestCluster): Promise<string> {
  const image = await pushBusybox(cluster.registry);
  const applied = await cluster.apply(
    `name: app\nservices: {web: {image: "${image}", command: ["sh", "-c", ${JSON.stringify(serveCommand(8080))}], ports: ["8080:8080"], stop_grace_period: 0s}}\n`,
    '--wait',
  );
  expect(applied.code, applied.stderr).toBe(0);
  return `http://${(await cluster.nodes())[0]?.address ?? ''}:8080/`;
}

it('run the same stack on the same port, and one goes without the other', async () => {
  if (one === undefined || two === undefined) throw new Error('a cluster did not start');
  expect(one.registry).not.toBe(two.registry);
  const [first, second] = [await serveOn(one), await serveOn(two)];
  const idsOf = async (cluster: TestCluster) => new Set((await cluster.tasks()).map(({ id }) => id));
  expect(await answers(first, 5)).toEqual(await idsOf(one));
  expect(await answers(second, 5)).toEqual(await idsOf(two));
  expect((await one.down('--volumes')).code).toBe(0);
  one = undefined;
  const cluster = two;
  await eventually(async () => {
    expect(await answers(second, 5)).toEqual(await idsOf(cluster));
  });
});
