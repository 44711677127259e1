/**
 * No request is lost while tasks come and go: under a steady load on every node, in new connections and over kept ones,
 * services are updated, scaled and nodes drained. The server is the example's: it leaves politely.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureImages } from '../../cli/local/tour/images.ts';
import { startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { startLoad } from './load.ts';
import type { LoadReport } from './load.ts';

const example = join(import.meta.dirname, '..', '..', 'examples', 'hello');
/** Of each kind of connection. */
const perSecond = Number(process.env['RATE'] ?? '200');
/** Before and after what is done, so that the load is there when it begins and sees what it left. */
const marginMs = 1_500;

let cluster: TestCluster;
let version = 0;

/** Every call is a new version. The counter is not there: what is measured is the way to `web`. */
const compose = (order: string, replicas = 3): string => `
name: hello
services:
  web:
    image: ${cluster.registry}/hello/web:1
    environment: {VERSION: "${String((version += 1))}", COUNTER_URL: "http://127.0.0.1:9/"}
    ports: ["8080:8080"]
    healthcheck: {test: [CMD, node, /app/check.mjs, "8080"], interval: 5s}
    stop_grace_period: 8s
    deploy: {replicas: ${String(replicas)}, update_config: {parallelism: 1, order: ${order}, monitor: 1s}}
`;

beforeAll(async () => {
  cluster = await startTestCluster('drain');
  await ensureImages({ registry: cluster.registry, example, stampFile: join(cluster.folder, 'images.json'), say: () => undefined }); // prettier-ignore
  await mustApply(compose('stop-first'));
});
afterAll(() => stopTestCluster(cluster));

async function mustApply(text: string): Promise<void> {
  const applied = await cluster.apply(text, '--wait', '--timeout', '120s');
  expect(applied.code, applied.stderr).toBe(0);
}

/** What the clients of every node saw while `act` was done. */
async function underLoad(act: () => Promise<void>): Promise<{ fresh: LoadReport; kept: LoadReport }> {
  const urls = (await cluster.nodes()).map((node) => `http://${node.address}:8080/`);
  const loads = [
    startLoad({ urls, perSecond, connections: 'new' }),
    startLoad({ urls, perSecond, connections: 'keep-alive' }),
  ] as const;
  try {
    await sleep(marginMs);
    await act();
    await sleep(marginMs);
    const [fresh, kept] = await Promise.all([loads[0].stop(), loads[1].stop()]);
    return { fresh, kept };
  } finally {
    for (const load of loads) load.end();
  }
}

function expectNothingLost({ fresh, kept }: { fresh: LoadReport; kept: LoadReport }): void {
  for (const report of [fresh, kept]) {
    // Where answers take a second, the machine is too busy for the server's two: then this says nothing about the cluster.
    const { median, p99, max } = report.latencyMs;
    const latency = `answers took ${String(Math.round(median))} ms, p99 ${String(Math.round(p99))}, longest ${String(Math.round(max))}`;
    expect(report.failures, latency).toEqual({});
    expect(report.answered).toBe(report.sent);
    expect(report.sent).toBeGreaterThan((2 * marginMs * perSecond) / 1_000 - perSecond);
  }
  // The one opens a connection for each request, the other must not, or nothing would be proved of kept ones.
  expect(fresh.opened).toBe(fresh.answered);
  expect(kept.opened).toBeLessThan(kept.answered / 2);
}

const runningIds = async (): Promise<ReadonlySet<string>> =>
  new Set((await cluster.tasks('hello/web')).filter(({ state }) => state === 'running').map(({ id }) => id));

it('a rolling update, stop-first, loses no request', async () => {
  const before = await runningIds();
  const seen = await underLoad(() => mustApply(compose('stop-first')));
  expectNothingLost(seen);
  const after = await runningIds();
  expect([...before].some((id) => after.has(id))).toBe(false);
  // Every task of both generations has answered; over kept connections, which stay where they are, some of each.
  for (const id of [...before, ...after]) expect(seen.fresh.hosts.get(id) ?? 0, id).toBeGreaterThan(0);
  for (const ids of [before, after]) expect([...ids].some((id) => seen.kept.hosts.has(id))).toBe(true);
});

it('a rolling update, start-first, loses no request', async () => {
  const before = await runningIds();
  expectNothingLost(await underLoad(() => mustApply(compose('start-first'))));
  const after = await runningIds();
  expect([...before].some((id) => after.has(id))).toBe(false);
});

it('scaling down and up loses no request', async () => {
  const seen = await underLoad(async () => {
    expect((await cluster.frota('scale', 'web=1', '--wait')).code).toBe(0);
    expect((await cluster.frota('scale', 'web=3', '--wait')).code).toBe(0);
  });
  expectNothingLost(seen);
});

it('draining a node loses no request', async () => {
  const victim = (await cluster.tasks('hello/web'))[0]?.node ?? '';
  const seen = await underLoad(async () => {
    const drained = await cluster.frota('node', 'drain', victim, '--wait');
    expect(drained.code, drained.stderr).toBe(0);
  });
  expectNothingLost(seen);
  expect((await cluster.tasks('hello/web')).some(({ node }) => node === victim)).toBe(false);
  expect((await cluster.frota('node', 'activate', victim)).code).toBe(0);
});
