/** Health checks on real containers: the file's and the image's, at the start, while it runs, and across an agent's death. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TaskView } from '../../proto/domain/views.ts';
import { answers, eventually, killPid, pidOfPart, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox, serveCommand } from './images.ts';

let cluster: TestCluster;
let image = '';
/** It has a health check of its own: the file `/ok` is there. */
let checkedImage = '';
const nanosecondsPerMs = 1e6;

beforeAll(async () => {
  cluster = await startTestCluster('health');
  image = await pushBusybox(cluster.registry);
  checkedImage = await pushBusybox(cluster.registry, 'test/checked:1', {
    healthcheck: { Test: ['CMD-SHELL', 'cat /ok'], Interval: 300 * nanosecondsPerMs, Retries: 2 },
  });
});
afterAll(() => stopTestCluster(cluster));

const stack = (services: string): string => `name: app\nservices:\n${services}`;
const service = (name: string, fields: readonly string[]): string =>
  [`  ${name}:`, ...['stop_grace_period: 1s', ...fields].map((field) => `    ${field}`), ''].join('\n');
const shell = (line: string): string => `command: ["sh", "-c", ${JSON.stringify(line)}]`;

/** Every task the service has had. */
const tasksOf = (name: string): Promise<readonly TaskView[]> => cluster.tasks(`app/${name}`, '--all');
/** The one it had first: what becomes unhealthy may be replaced. */
const first = async (name: string): Promise<TaskView | undefined> =>
  [...(await tasksOf(name))].sort((a, b) => a.restarts - b.restarts)[0];

describe('health checks', () => {
  it('a task is starting, and nothing leads to it, until its check succeeds; then it runs', async () => {
    const applied = await cluster.apply(
      stack(
        service('slow', [
          `image: ${image}`,
          shell(`(sleep 4; touch /ready)& ${serveCommand(8080)}`),
          'ports: ["8081:8080"]',
          'healthcheck: {test: "test -f /ready || { echo not yet; exit 3; }", interval: 10s}',
        ]),
      ),
    );
    expect(applied.code, applied.stderr).toBe(0);
    const url = `http://${(await cluster.nodes())[0]?.address ?? ''}:8081/`;
    await eventually(async () => {
      const task = await first('slow');
      expect(task).toMatchObject({ state: 'starting', health: 'starting' });
      expect(task?.reason).toBe('its health check has not succeeded yet: exit code 3: not yet');
    });
    await expect(answers(url, 1)).rejects.toThrow();
    await eventually(async () => {
      expect(await first('slow')).toMatchObject({ state: 'running', health: 'healthy', reason: null });
    });
    await eventually(async () => {
      expect((await answers(url, 3)).size).toBe(1);
    }, 2_000);
  });

  it('runs at once when the check succeeds at once', async () => {
    const applied = await cluster.apply(
      stack(
        service('quick', [
          `image: ${image}`,
          'command: ["sleep", "600"]',
          'healthcheck: {test: ["CMD", "true"], interval: 60s, start_interval: 60s}',
          'deploy: {replicas: 3}',
        ]),
      ),
      '--wait',
    );
    expect(applied.code, applied.stderr).toBe(0);
    for (const task of await tasksOf('quick')) {
      expect(task).toMatchObject({ state: 'running', health: 'healthy' });
      // A tenth of a second on an idle machine; this one may be busy, but nobody has waited for an interval.
      expect(Date.parse(task.since ?? '') - Date.parse(task.startedAt ?? '')).toBeLessThan(15_000);
    }
  });

  it("the image's own check: unhealthy with the last output, and out of the ports at once", async () => {
    const applied = await cluster.apply(
      stack(
        service('shaky', [
          `image: ${checkedImage}`,
          shell(`touch /ok; (sleep 12; rm /ok)& ${serveCommand(8080)}`),
          'ports: ["8082:8080"]',
        ]) + service('off', [`image: ${checkedImage}`, 'command: ["sleep", "600"]', 'healthcheck: {disable: true}']),
      ),
      '--wait',
    );
    expect(applied.code, applied.stderr).toBe(0);
    expect((await tasksOf('off'))[0]).toMatchObject({ state: 'running', health: 'none' });
    expect(await first('shaky')).toMatchObject({ state: 'running', health: 'healthy' });
    const id = (await first('shaky'))?.id ?? '';
    const url = `http://${(await cluster.nodes())[1]?.address ?? ''}:8082/`;
    expect(await answers(url, 3)).toEqual(new Set([id]));
    await eventually(async () => {
      const task = await first('shaky');
      expect(task?.health).toBe('unhealthy');
      // What replaces it has the last word on why it went.
      if (task?.desiredState === 'running') expect(task.reason).toMatch(/^unhealthy: 2 checks failed, the last: exit code 1: cat:/);
    }, 30_000);
    await eventually(async () => {
      const seen = await answers(url, 5).catch(() => new Set<string>());
      expect(seen.has(id)).toBe(false);
    }, 2_000);
  }); // prettier-ignore

  it('a check that cannot be run is a failed one, and says why', async () => {
    const applied = await cluster.apply(
      stack(
        service('broken', [
          `image: ${image}`,
          'command: ["sleep", "600"]',
          'healthcheck: {test: ["CMD", "/no/such/program"], interval: 300ms, retries: 2}',
        ]),
      ),
    );
    expect(applied.code, applied.stderr).toBe(0);
    await eventually(async () => {
      const seen = (await tasksOf('broken')).map(({ state, health, reason }) => `${state} ${health} ${reason ?? ''}`);
      expect(seen.join('\n')).toContain('/no/such/program');
      expect((await tasksOf('broken')).every(({ state }) => state !== 'running')).toBe(true);
    });
  });

  it('a healthy task whose agent dies is not starting again', async () => {
    const applied = await cluster.apply(
      stack(
        service('steady', [
          `image: ${image}`,
          'command: ["sleep", "600"]',
          'healthcheck: {test: ["CMD", "true"], interval: 500ms}',
        ]),
      ),
      '--wait',
    );
    expect(applied.code, applied.stderr).toBe(0);
    const before = await first('steady');
    const old = await pidOfPart(cluster, before?.node ?? '');
    killPid(old);
    const seen = new Set<string>();
    await eventually(async () => {
      seen.add((await first('steady'))?.state ?? '');
      expect(await pidOfPart(cluster, before?.node ?? '')).not.toBe(old);
      expect((await cluster.nodes()).every((node) => node.state === 'ready')).toBe(true);
    });
    seen.add((await first('steady'))?.state ?? '');
    // On a machine so busy that the agent is away for longer than its grace, the task may have been replaced: never started anew.
    expect(seen).not.toContain('starting');
    expect(seen).toContain('running');
  });
});
