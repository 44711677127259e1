/** Frota's side of the failover benchmark: a local cluster of four nodes and a controller, six replicas, and what its history says. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { ClusterEvent, RecoveryMoments } from '../../../proto/domain/event.ts';
import type { TaskView } from '../../../proto/domain/views.ts';
import {
  containerPids,
  eventually,
  freezeCgroup,
  frotaProgram,
  killCgroup,
  killPid,
  must,
  startTestCluster,
  stopTestCluster,
} from '../../cluster/cluster.ts';
import type { TestCluster } from '../../cluster/cluster.ts';
import { pushBusybox, webCompose } from '../../cluster/images.ts';
import { startLoad } from '../../cluster/load.ts';
import { answerWithinMs, lossOf, marginMs, nodeNames, perSecond, replicas } from './loss.ts';
import type { Loss } from './loss.ts';

/** With the moments of each lost task, as the cluster's history tells them. */
export interface ToldLoss extends Loss {
  readonly recoveries: readonly RecoveryMoments[];
}

/** What the history says while the bench runs, told by one program from the start: asking again and again would be a load of its own. */
class History {
  readonly events: ClusterEvent[] = [];
  readonly #child: ChildProcess;

  constructor(environment: NodeJS.ProcessEnv) {
    this.#child = spawn(frotaProgram, ['events', '-f', '-o', 'json'], {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (this.#child.stdout === null) throw new Error('no pipe');
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.events.push(JSON.parse(line) as ClusterEvent);
    });
  }

  async close(): Promise<void> {
    const ended = once(this.#child, 'close');
    this.#child.kill('SIGINT');
    await ended;
  }
}

/** A cluster that runs. Made by `startFrota`; whoever made it ends it. */
export class Frota {
  readonly #cluster: TestCluster;
  readonly #history: History;

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
    this.#history = new History(cluster.environment);
  }

  /** A power cut: link cut, then SIGKILL to everything on the node. It is on again when this returns. */
  async loseNode(round: number): Promise<ToldLoss> {
    const cluster = this.#cluster;
    const victim = nodeNames[1 + (round % (nodeNames.length - 1))] ?? '';
    await eventually(async () => {
      expect((await cluster.nodes()).every(({ state }) => state === 'ready')).toBe(true);
    }, 60_000);
    // Scaling down and up spreads the replicas again, so that the node has some to lose.
    for (const count of [1, replicas]) await cluster.frota('scale', `web=${String(count)}`, '--wait');
    const namespace = `frota-${cluster.name}-${victim}`;
    const cgroup = `/frota/${cluster.name}/${victim}`;
    const spared = nodeNames.filter((name) => name !== victim);
    try {
      return await this.#measure(({ node }) => node === victim, spared, async () => {
        await must('ip', ['-n', namespace, 'link', 'set', 'eth0', 'down']);
        // The agent that the supervisor starts again at once would take the CPU of the nodes that are measured.
        await freezeCgroup(cgroup, true);
        await killCgroup(cgroup);
      }); // prettier-ignore
    } finally {
      await freezeCgroup(cgroup, false);
      await must('ip', ['-n', namespace, 'link', 'set', 'eth0', 'up']);
    }
  }

  /** SIGKILL to the first process of one container. */
  async killContainer(round: number): Promise<ToldLoss> {
    await eventually(async () => {
      expect(await this.#running()).toHaveLength(replicas);
    }, 30_000);
    const tasks = await this.#running();
    const victim = tasks[round % tasks.length];
    const pid = (await containerPids(this.#cluster)).get(victim?.id ?? '') ?? 0;
    expect(pid).toBeGreaterThan(0);
    const loss = await this.#measure(({ id }) => id === victim?.id, nodeNames, () => {
      killPid(pid);
      return Promise.resolve();
    }); // prettier-ignore
    // A slot whose attempts end within ten seconds of their start waits longer and longer: another one is next.
    await sleep(500);
    return loss;
  }

  async close(): Promise<void> {
    await this.#history.close();
    await stopTestCluster(this.#cluster);
  }

  async #running(): Promise<readonly TaskView[]> {
    return (await this.#cluster.tasks('web')).filter(({ state }) => state === 'running');
  }

  /** One fault under load. `isLost` says which tasks it takes; `spared` are the nodes that are asked. */
  async #measure(
    isLost: (task: TaskView) => boolean,
    spared: readonly string[],
    fault: () => Promise<void>,
  ): Promise<ToldLoss> {
    const before = await this.#running();
    const count = before.filter(isLost).length;
    expect(count).toBeGreaterThan(0);
    const known = new Set(before.map(({ id }) => id));
    const addresses = (await this.#cluster.nodes())
      .filter(({ name }) => spared.includes(name))
      .map(({ address }) => address);
    const load = startLoad({
      urls: addresses.map((address) => `http://${address}:8080/`),
      perSecond,
      connections: 'new',
      answerWithinMs,
    });
    try {
      await sleep(marginMs);
      const told = this.#history.events.length;
      const faultAtMs = performance.now();
      await fault();
      const recoveries = (): readonly RecoveryMoments[] =>
        this.#history.events.slice(told).flatMap(({ recovery }) => recovery ?? []);
      await eventually(() => {
        expect(recoveries().length).toBeGreaterThanOrEqual(count);
        return Promise.resolve();
      }, 30_000, 50); // prettier-ignore
      // Failures that come late count.
      await sleep(marginMs);
      const seen = await load.stop();
      const now = (await this.#running()).filter((task) => !isLost(task));
      expect(now).toHaveLength(replicas);
      const replacements = now.filter(({ id }) => !known.has(id)).map(({ id }) => id);
      expect(replacements).toHaveLength(count);
      return { ...lossOf(faultAtMs, seen, replacements), recoveries: recoveries() };
    } finally {
      load.end();
    }
  }
}

/** From nothing. The caller ends it with `close`, whatever happens. */
export async function startFrota(): Promise<Frota> {
  const cluster = await startTestCluster('bench', nodeNames.length);
  try {
    const image = await pushBusybox(cluster.registry);
    const applied = await cluster.apply(webCompose(image, replicas, 'stop_grace_period: 1s'), '--wait');
    expect(applied.code, applied.stderr).toBe(0);
    return new Frota(cluster);
  } catch (error) {
    await stopTestCluster(cluster);
    throw error;
  }
}
