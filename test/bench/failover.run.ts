/**
 * From a fault to the last replacement answering, under an open-loop load of new connections to the nodes that are spared; and what
 * the history says of each phase. Four nodes, six replicas, image present, no health check, power cut as in the failure tests.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ClusterEvent, RecoveryMoments } from '../../proto/domain/event.ts';
import type { TaskView } from '../../proto/domain/views.ts';
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
} from '../cluster/cluster.ts';
import type { TestCluster } from '../cluster/cluster.ts';
import { pushBusybox, webCompose } from '../cluster/images.ts';
import { startLoad } from '../cluster/load.ts';
import type { LoadReport } from '../cluster/load.ts';
import { report } from './samples.ts';

const rounds = Number(process.env['ROUNDS'] ?? '10');
/** As the scripts that measure Docker Swarm. */
const perSecond = Number(process.env['RATE'] ?? '50');
const answerWithinMs = 1_000;
const replicas = 6;
const nodes = ['n1', 'n2', 'n3', 'n4'];
/** The load runs before the fault, and after the last replacement has answered: failures that come late count. */
const marginMs = 1_500;

let cluster: TestCluster;
let history: History;

beforeAll(async () => {
  cluster = await startTestCluster('bench', nodes.length);
  const image = await pushBusybox(cluster.registry);
  const applied = await cluster.apply(webCompose(image, replicas, 'stop_grace_period: 1s'), '--wait');
  expect(applied.code, applied.stderr).toBe(0);
  history = new History(cluster.environment);
}, 120_000);

afterAll(async () => {
  await history.close();
  await stopTestCluster(cluster);
}, 60_000);

interface Round {
  /** From the fault to the first answer of the last replacement. */
  readonly answeringMs: number;
  readonly load: LoadReport;
  /** From the fault to the last failure; 0: none. */
  readonly lastFailureMs: number;
  readonly recoveries: readonly RecoveryMoments[];
}

const running = async (): Promise<readonly TaskView[]> =>
  (await cluster.tasks('web')).filter(({ state }) => state === 'running');

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

/** One fault under load. `lost` says which tasks it takes; `spared` are the nodes that are asked. */
async function measure(
  lost: (task: TaskView) => boolean,
  spared: readonly string[],
  fault: () => Promise<void>,
): Promise<Round> {
  const before = await running();
  const count = before.filter(lost).length;
  expect(count).toBeGreaterThan(0);
  const addresses = (await cluster.nodes()).filter(({ name }) => spared.includes(name)).map(({ address }) => address);
  const load = startLoad({
    urls: addresses.map((address) => `http://${address}:8080/`),
    perSecond,
    connections: 'new',
    answerWithinMs,
  });
  try {
    await sleep(marginMs);
    const told = history.events.length;
    const faultAtMs = performance.now();
    await fault();
    const recoveries = (): readonly RecoveryMoments[] =>
      history.events.slice(told).flatMap(({ recovery }) => recovery ?? []);
    await eventually(() => {
      expect(recoveries().length).toBeGreaterThanOrEqual(count);
      return Promise.resolve();
    }, 30_000, 50); // prettier-ignore
    await sleep(marginMs);
    const seen = await load.stop();
    const now = (await running()).filter((task) => !lost(task));
    expect(now).toHaveLength(replicas);
    const known = new Set(before.map(({ id }) => id));
    const answers = now.filter(({ id }) => !known.has(id)).map(({ id }) => seen.firstAnswerAtMs.get(id) ?? Infinity);
    expect(answers).toHaveLength(count);
    return {
      answeringMs: Math.max(...answers) - faultAtMs,
      load: seen,
      lastFailureMs: Math.max(0, (seen.failedAtMs.at(-1) ?? faultAtMs) - faultAtMs),
      recoveries: recoveries(),
    };
  } finally {
    load.end();
  }
}

const phases = ['suspected', 'confirmed', 'planned', 'committed', 'received', 'created', 'running', 'inForce'] as const;

function tell(what: string, measured: readonly Round[]): void {
  report(`${what} → last replacement answering`, measured.map(({ answeringMs }) => answeringMs)); // prettier-ignore
  report(`${what} → last failed request over`, measured.map(({ lastFailureMs }) => lastFailureMs)); // prettier-ignore
  const failed = measured.map(({ load }) => load.sent - load.answered);
  report(`${what}: failed requests of ${String(perSecond)}/s`, failed, 0, '');
  const recoveries = measured.flatMap(({ recoveries }) => recoveries);
  expect(recoveries.length).toBeGreaterThan(0);
  for (const phase of phases) {
    const moments = recoveries.flatMap((moments) => moments[phase] ?? []);
    if (moments.length > 0) report(`  ${phase}, since the last sign of life`, moments);
  }
}

it('node loss', { timeout: rounds * 60_000 }, async () => {
  const measured: Round[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const victim = nodes[1 + (round % (nodes.length - 1))] ?? '';
    await eventually(async () => {
      expect((await cluster.nodes()).every(({ state }) => state === 'ready')).toBe(true);
    }, 60_000);
    // Scaling down and up spreads the replicas again, so that the node has some to lose.
    for (const count of [1, replicas]) await cluster.frota('scale', `web=${String(count)}`, '--wait');
    const namespace = `frota-${cluster.name}-${victim}`;
    const cgroup = `/frota/${cluster.name}/${victim}`;
    const spared = nodes.filter((name) => name !== victim);
    measured.push(
      await measure(({ node }) => node === victim, spared, async () => {
        await must('ip', ['-n', namespace, 'link', 'set', 'eth0', 'down']);
        // The agent that the supervisor starts again at once would take the CPU of the nodes that are measured.
        await freezeCgroup(cgroup, true);
        await killCgroup(cgroup);
      }), // prettier-ignore
    );
    await freezeCgroup(cgroup, false);
    await must('ip', ['-n', namespace, 'link', 'set', 'eth0', 'up']);
  }
  tell('node loss', measured);
});

it('container killed', { timeout: rounds * 60_000 }, async () => {
  const measured: Round[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await eventually(async () => {
      expect(await running()).toHaveLength(replicas);
    }, 30_000);
    const tasks = await running();
    const victim = tasks[round % tasks.length];
    const pid = (await containerPids(cluster)).get(victim?.id ?? '') ?? 0;
    expect(pid).toBeGreaterThan(0);
    measured.push(
      await measure(({ id }) => id === victim?.id, nodes, () => {
        killPid(pid);
        return Promise.resolve();
      }), // prettier-ignore
    );
    // A slot whose attempts end within ten seconds of their start waits longer and longer: another one is next.
    await sleep(500);
  }
  tell('container killed', measured);
});
