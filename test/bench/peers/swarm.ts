/**
 * Docker Swarm as a peer of the failover benchmark: one manager and three workers, six replicas, the same faults under the same load.
 * Where the kernel has no IPVS Swarm's VIPs and its port mesh do not work, so clients reach the service by what works everywhere:
 * `endpoint_mode: dnsrr` on an overlay network, asked anew for each request, from a container's network on a node that is spared.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { expect } from 'vitest';
import { busyboxImage } from '../../builders/oci-image.ts';
import { eventually, must } from '../../cluster/cluster.ts';
import { serveCommand } from '../../cluster/images.ts';
import { monotonicMs } from '../../cluster/load.ts';
import { filters } from './docker-api.ts';
import {
  cutPower,
  pushToDockerRegistry,
  removeDockerNodes,
  revive,
  spawnWithin,
  startDockerNodes,
} from './docker-nodes.ts';
import type { DockerNode } from './docker-nodes.ts';
import { answerWithinMs, lossOf, marginMs, nodeNames, perSecond, replicas } from './loss.ts';
import type { Loss } from './loss.ts';

/** What people may set for a faster failover; the defaults are Docker's own. */
export interface Tuning {
  readonly heartbeatMs: number;
  readonly restartDelayMs: number;
}
export const defaults: Tuning = { heartbeatMs: 5_000, restartDelayMs: 5_000 };
export const tuned: Tuning = { heartbeatMs: 1_000, restartDelayMs: 0 };

const port = 8080;
const perMs = 1_000_000;
/** Longer than the twenty seconds it takes with the defaults. */
const replacedWithinMs = 90_000;
/** An address stays in the names for up to seven seconds after its node's loss: until then requests fail. */
const namesClearMs = 8_000;
const settleMs = 3_000;

interface Task {
  readonly ID: string;
  readonly NodeID: string;
  readonly DesiredState: string;
  readonly Status: { readonly State: string; readonly ContainerStatus?: { readonly ContainerID: string } };
}
interface Member {
  readonly ID: string;
  readonly Description: { readonly Hostname: string };
  readonly Status: { readonly State: string };
}
interface SwarmSpec {
  readonly Dispatcher?: Readonly<Record<string, unknown>>;
}

/** A swarm that runs. Made by `startSwarm`; whoever made it ends it. */
export class Swarm {
  readonly #nodes: readonly DockerNode[];
  readonly #image: string;
  readonly #folder: string;
  readonly #loadProgram: string;
  #network = '';
  #tuning = defaults;

  constructor(nodes: readonly DockerNode[], image: string, folder: string, loadProgram: string) {
    this.#nodes = nodes;
    this.#image = image;
    this.#folder = folder;
    this.#loadProgram = loadProgram;
  }

  async form(): Promise<void> {
    const [first, ...others] = this.#nodes;
    if (first === undefined) throw new Error('a swarm needs a node');
    await Promise.all(
      this.#nodes.map(({ api }) => api.post(`/images/create?fromImage=${encodeURIComponent(this.#image)}`)),
    );
    const listen = { ListenAddr: '0.0.0.0:2377' };
    await first.api.post('/swarm/init', { ...listen, AdvertiseAddr: first.address });
    const { JoinTokens } = await first.api.get<{ JoinTokens: { Worker: string } }>('/swarm');
    for (const { api, address } of others) {
      const manager = { RemoteAddrs: [`${first.address}:2377`], JoinToken: JoinTokens.Worker };
      await api.post('/swarm/join', { ...listen, AdvertiseAddr: address, ...manager });
    }
    const made = await first.api.post<{ Id: string }>('/networks/create', {
      Name: 'peers',
      Driver: 'overlay',
      Attachable: true,
    });
    this.#network = made.Id;
    await this.#allReady();
    await this.#startClient();
  }

  /** For services made from now on. */
  async tune(tuning: Tuning): Promise<void> {
    await this.#removeService();
    const { Version, Spec } = await this.#manager.get<{ Version: { Index: number }; Spec: SwarmSpec }>('/swarm');
    const dispatcher = { ...Spec.Dispatcher, HeartbeatPeriod: tuning.heartbeatMs * perMs };
    await this.#manager.post(`/swarm/update?version=${String(Version.Index)}`, { ...Spec, Dispatcher: dispatcher });
    // Workers hear of it with the answer to their next heartbeat.
    await sleep(this.#tuning.heartbeatMs + settleMs);
    this.#tuning = tuning;
  }

  /** A power cut of a worker, which is on again when this returns. */
  async loseNode(round: number): Promise<Loss> {
    // The client runs on n2, the manager on n1.
    const victim = this.#nodes[2 + (round % 2)];
    if (victim === undefined) throw new Error('no worker to lose');
    // Made anew, the service is spread evenly again.
    await this.#removeService();
    await this.#ensureService();
    const id = (await this.#members()).find(({ Description }) => Description.Hostname === victim.name)?.ID;
    try {
      return await this.#measure(
        ({ NodeID }) => NodeID === id,
        () => cutPower(victim),
        namesClearMs,
      );
    } finally {
      await revive(victim);
      await this.#allReady();
    }
  }

  /** SIGKILL to the first process of one container. */
  async killContainer(round: number): Promise<Loss> {
    await this.#ensureService();
    const tasks = await this.#running();
    const victim = tasks[round % tasks.length];
    const container = victim?.Status.ContainerStatus?.ContainerID ?? '';
    const name = (await this.#members()).find(({ ID }) => ID === victim?.NodeID)?.Description.Hostname;
    const node = this.#nodes.find((each) => each.name === name);
    if (node === undefined) throw new Error(`${container} is on no node`);
    const { State } = await node.api.get<{ State: { Pid: number } }>(`/containers/${container}/json`);
    // Docker tells pids as its own machine counts them.
    const within = ['-t', String(node.initPid), '-m', '-p', '--', 'kill', '-9', String(State.Pid)];
    const kill = async (): Promise<void> => {
      await must('nsenter', within);
    };
    return this.#measure(({ ID }) => ID === victim?.ID, kill, settleMs);
  }

  async close(): Promise<void> {
    await removeDockerNodes();
    await rm(this.#folder, { recursive: true, force: true });
  }

  get #manager() {
    return this.#client(0);
  }

  #client(index: number) {
    const node = this.#nodes[index];
    if (node === undefined) throw new Error('no such node');
    return node.api;
  }

  #members = (): Promise<readonly Member[]> => this.#manager.get('/nodes');

  /** Tasks of the service that run and are wanted. */
  async #running(): Promise<readonly Task[]> {
    const tasks = await this.#manager.get<readonly Task[]>(`/tasks?${filters({ service: ['web'] })}`);
    return tasks.filter(({ DesiredState, Status }) => DesiredState === 'running' && Status.State === 'running');
  }

  #allReady = (): Promise<boolean> =>
    eventually(async () => {
      const members = await this.#members();
      expect(members).toHaveLength(this.#nodes.length);
      expect(members.every(({ Status }) => Status.State === 'ready')).toBe(true);
      return true;
    }, replacedWithinMs);

  /** A container that stays, whose network the load comes from. */
  async #startClient(): Promise<void> {
    const api = this.#client(1);
    await api.post('/containers/create?name=client', {
      Image: this.#image,
      Cmd: ['sleep', '1000000'],
      HostConfig: { NetworkMode: 'peers' },
    });
    await api.post('/containers/client/start');
  }

  async #ensureService(): Promise<void> {
    const services = await this.#manager.get<readonly unknown[]>(`/services?${filters({ name: ['web'] })}`);
    if (services.length === 0) await this.#createService();
    await eventually(async () => (await this.#running()).length === replicas, replacedWithinMs);
    // A container's network is up a moment after Swarm says that it runs, and its name known everywhere another one later.
    if (services.length === 0) await sleep(settleMs);
  }

  async #createService(): Promise<void> {
    await this.#manager.post('/services/create', {
      Name: 'web',
      TaskTemplate: {
        ContainerSpec: {
          Image: this.#image,
          Command: ['sh', '-c', serveCommand(port)],
          StopGracePeriod: 1_000 * perMs,
        },
        RestartPolicy: { Condition: 'any', Delay: this.#tuning.restartDelayMs * perMs },
        Networks: [{ Target: this.#network }],
      },
      Mode: { Replicated: { Replicas: replicas } },
      EndpointSpec: { Mode: 'dnsrr' },
    });
  }

  async #removeService(): Promise<void> {
    await this.#manager.delete('/services/web').catch(() => undefined);
    await eventually(async () => (await this.#containersLeft()) === 0, replacedWithinMs);
  }

  /** A node without power has none. */
  async #containersLeft(): Promise<number> {
    const wanted = filters({ label: ['com.docker.swarm.service.name=web'] });
    const lists = await Promise.all(
      this.#nodes.map(({ api }) => api.get<readonly unknown[]>(`/containers/json?${wanted}`).catch(() => [])),
    );
    return lists.flat().length;
  }

  async #measure(isLost: (task: Task) => boolean, fault: () => Promise<void>, clearMs: number): Promise<Loss> {
    const before = await this.#running();
    const lost = before.filter(isLost).length;
    expect(lost).toBeGreaterThan(0);
    const known = new Set(before.map(({ ID }) => ID));
    const load = await this.#startLoad();
    try {
      await sleep(marginMs);
      const faultAtMs = monotonicMs();
      await fault();
      const replacements = await eventually(async () => {
        const found = (await this.#running()).filter(({ ID }) => !known.has(ID));
        expect(found).toHaveLength(lost);
        return found;
      }, replacedWithinMs, 50); // prettier-ignore
      await sleep(Math.max(settleMs, faultAtMs + clearMs - monotonicMs()));
      // A container's host name is the beginning of its id.
      const hosts = replacements.map(({ Status }) => (Status.ContainerStatus?.ContainerID ?? '').slice(0, 12));
      return lossOf(faultAtMs, await load.stop(), hosts);
    } finally {
      load.end();
    }
  }

  async #startLoad() {
    const { NetworkSettings } = await this.#client(1).get<{ NetworkSettings: { SandboxKey: string } }>(
      '/containers/client/json',
    );
    const node = this.#nodes[1];
    if (node === undefined) throw new Error('no such node');
    const args = [this.#loadProgram, `http://web:${String(port)}/`, String(perSecond), String(answerWithinMs)];
    const child = spawnWithin(node, 'nsenter', [`--net=${NetworkSettings.SandboxKey}`, process.execPath, ...args]);
    let said = '';
    child.stdout?.on('data', (text: Buffer) => (said += text.toString()));
    const ended = once(child, 'close');
    return {
      end: () => void child.kill('SIGKILL'),
      stop: async () => {
        child.stdin?.end();
        await ended;
        const seen = JSON.parse(said) as SeenInChild;
        return { ...seen, firstAnswerAtMs: new Map(seen.firstAnswerAtMs) };
      },
    };
  }
}

/** What the load's process says at its end. */
interface SeenInChild {
  readonly sent: number;
  readonly answered: number;
  readonly failedAtMs: readonly number[];
  readonly firstAnswerAtMs: readonly (readonly [string, number])[];
}

/** From nothing; takes about half a minute. The caller ends it with `close`, whatever happens. */
export async function startSwarm(): Promise<Swarm> {
  const folder = await mkdtemp(join(tmpdir(), 'ft-swarm-'));
  try {
    const loadProgram = join(folder, 'load.mjs');
    const entry = join(import.meta.dirname, 'load-child.ts');
    await build({ entryPoints: [entry], outfile: loadProgram, bundle: true, platform: 'node', format: 'esm' });
    const nodes = await startDockerNodes(nodeNames);
    await busyboxImage(join(folder, 'image'), {});
    const image = await pushToDockerRegistry(join(folder, 'image'), 'test/busybox:1');
    const swarm = new Swarm(nodes, image, folder, loadProgram);
    await swarm.form();
    return swarm;
  } catch (error) {
    await removeDockerNodes();
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}
