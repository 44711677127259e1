/** A node to be hurt: two network namespaces with a wire between them, control groups, an agent's stand-in, and all that a fault may leave. */
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess, ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import {
  cgroupPids,
  detectCgroupLayout,
  killCgroup,
  makeCgroup,
  moveToCgroup,
  removeCgroup,
} from '../../../agent/host/cgroups.ts';
import { readCommandLine } from '../../../agent/host/processes.ts';
import type { DrillAnswer, DrillOrder } from '../../../proto/domain/drill-orders.ts';
import type { HurtAgentOptions } from './hurt-agent.ts';

const execute = promisify(execFile);
const layout = await detectCgroupLayout();

export const nodeNamespace = 'ft-drill-node';
const otherNamespace = 'ft-drill-other';
export const nodeAddress = '192.168.79.11';
export const otherAddress = '192.168.79.1';
export const controlPort = 7400;
export const servicePort = 8080;
const cgroupParent = '/ft-drill-node';

const inside = (namespace: string, ...words: readonly string[]): readonly string[] => [
  `--net=/run/netns/${namespace}`,
  ...words,
];

/** Listens on all ports given, for as long as it lives; an HTTP answer for whoever asks. */
const server = `for (const port of process.argv.slice(1)) require('node:http').createServer((q, a) => a.end('ok')).listen(Number(port), () => console.log(port));`;

export class HurtNode {
  readonly options: HurtAgentOptions;
  agent: ChildProcessByStdio<Writable, Readable, null> | undefined;
  #lines: AsyncIterator<string> | undefined;
  readonly #servers: ChildProcess[] = [];
  readonly #bundles: string;
  readonly #folder: string;

  private constructor(folder: string, bundles: string) {
    this.#folder = folder;
    this.#bundles = bundles;
    this.options = {
      folder: join(folder, 'drills'),
      undoer: join(bundles, 'agent/drills/undoer.js'),
      probeWorker: join(bundles, 'agent/drills/probe-worker.js'),
      address: nodeAddress,
      cgroupParent,
      controller: { address: otherAddress, ports: [controlPort], livenessPort: 7402 },
    };
  }

  static async make(): Promise<HurtNode> {
    const root = join(import.meta.dirname, '../../..');
    // Inside the checkout, so that the packages left out of the bundles are found.
    const bundles = join(root, 'node_modules/.cache', `ft-drill-${String(process.pid)}`);
    await build({
      absWorkingDir: root,
      entryPoints: ['agent/drills/undoer.ts', 'agent/drills/probe-worker.ts', 'test/contracts/drills/hurt-agent.ts'],
      outdir: bundles,
      outbase: '.',
      bundle: true,
      platform: 'node',
      format: 'esm',
      packages: 'external',
    });
    const node = new HurtNode(await mkdtemp(join(tmpdir(), 'ft-drill-')), bundles);
    await node.#wire();
    return node;
  }

  async #wire(): Promise<void> {
    const ip = async (...args: readonly string[]) => execute('ip', args);
    for (const namespace of [nodeNamespace, otherNamespace]) {
      await ip('netns', 'delete', namespace).catch(() => undefined);
      await ip('netns', 'add', namespace);
      await ip('-n', namespace, 'link', 'set', 'lo', 'up');
    }
    await ip(
      'link',
      'add',
      'ft-drill0',
      'netns',
      nodeNamespace,
      'type',
      'veth',
      'peer',
      'name',
      'ft-drill1',
      'netns',
      otherNamespace,
    );
    await ip('-n', nodeNamespace, 'address', 'add', `${nodeAddress}/24`, 'dev', 'ft-drill0');
    await ip('-n', otherNamespace, 'address', 'add', `${otherAddress}/24`, 'dev', 'ft-drill1');
    await ip('-n', nodeNamespace, 'link', 'set', 'ft-drill0', 'up');
    await ip('-n', otherNamespace, 'link', 'set', 'ft-drill1', 'up');
    await this.#serve(nodeNamespace, servicePort);
    await this.#serve(otherNamespace, servicePort, controlPort);
  }

  async #serve(namespace: string, ...ports: readonly number[]): Promise<void> {
    const child = spawn('nsenter', inside(namespace, process.execPath, '-e', server, ...ports.map(String)), {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#servers.push(child);
    await once(child.stdout, 'data');
  }

  /** In its namespace and its control group. */
  async start(): Promise<void> {
    const script = join(this.#bundles, 'test/contracts/drills/hurt-agent.js');
    const agent = spawn('nsenter', inside(nodeNamespace, process.execPath, script, JSON.stringify(this.options)), {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.agent = agent;
    await makeCgroup(layout, `${cgroupParent}/agent`);
    await moveToCgroup(layout, `${cgroupParent}/agent`, agent.pid ?? 0);
    this.#lines = createInterface({ input: agent.stdout })[Symbol.asyncIterator]();
    await this.#lines.next();
  }

  async order<K extends DrillAnswer['kind']>(order: DrillOrder, expected: K): Promise<DrillAnswer & { kind: K }> {
    this.agent?.stdin.write(`${JSON.stringify(order)}\n`);
    const line = await this.#lines?.next();
    const answer = JSON.parse(String(line?.value)) as DrillAnswer & { kind: K };
    if (answer.kind !== expected) throw new Error(`expected ${expected}, got ${JSON.stringify(answer)}`);
    return answer;
  }

  /** A process that a container would be, in `containers/ID`; number 1 of a pid namespace. Its pid there is the second. */
  async container(id: string): Promise<void> {
    const child = spawn('unshare', ['--pid', '--fork', '--kill-child', 'sleep', '300'], { stdio: 'ignore' });
    const path = `${cgroupParent}/containers/${id}`;
    await makeCgroup(layout, path);
    await moveToCgroup(layout, path, child.pid ?? 0);
    const children = `/proc/${String(child.pid)}/task/${String(child.pid)}/children`;
    for (let tries = 0; tries < 100; tries += 1) {
      const first = (await readFile(children, 'utf8').catch(() => '')).trim();
      if (first !== '') return moveToCgroup(layout, path, Number(first));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error('no child');
  }

  pidsOf = (group: string): Promise<readonly number[]> => cgroupPids(layout, `${cgroupParent}/${group}`);

  /** The pid of what runs as the agent's own program, whoever has started it. */
  async agentPids(): Promise<readonly number[]> {
    const found: number[] = [];
    for (const pid of await this.pidsOf('agent')) {
      if ((await readCommandLine(pid)).some((word) => word.endsWith('hurt-agent.js'))) found.push(pid);
    }
    return found;
  }

  async isFrozen(group: string): Promise<boolean> {
    if (layout.unified === undefined) throw new Error('this test reads the v2 freezer');
    const text = await readFile(join(layout.unified, cgroupParent, group, 'cgroup.events'), 'utf8');
    return text.includes('frozen 1');
  }

  /** From the other end of the wire to the node, or back. */
  async reaches(direction: 'in' | 'out', port: number): Promise<boolean> {
    const [from, to] = direction === 'in' ? [otherNamespace, nodeAddress] : [nodeNamespace, otherAddress];
    const script = `exec 3<>/dev/tcp/${to}/${String(port)}`;
    return execute('nsenter', [...inside(from, 'timeout', '0.7', 'bash', '-c', script)]).then(
      () => true,
      () => false,
    );
  }

  /** A datagram from the other end; what came back within half a second. */
  async datagram(port: number, text: string): Promise<string> {
    const script = `exec 3<>/dev/udp/${nodeAddress}/${String(port)}; printf '%s' '${text}' >&3; timeout 1 head -c 31 <&3`;
    const result = await execute('nsenter', [...inside(otherNamespace, 'bash', '-c', script)]).catch(() => undefined);
    return result?.stdout ?? '';
  }

  async tables(): Promise<string> {
    const { stdout } = await execute('nsenter', [...inside(nodeNamespace, 'nft', 'list', 'tables')]);
    return stdout.trim();
  }

  /** Processes that undo, and their control group. */
  async undoers(): Promise<readonly number[]> {
    return cgroupPids(layout, `${cgroupParent}/agent-drill`);
  }

  async undoerGroupIsThere(): Promise<boolean> {
    const names: readonly string[] = await readdir(join(layout.unified ?? '', cgroupParent)).catch(() => []);
    return names.includes('agent-drill');
  }

  async kill(): Promise<void> {
    for (const pid of await this.pidsOf('agent')) process.kill(pid, 'SIGKILL');
    await killCgroup(layout, `${cgroupParent}/agent`);
  }

  /** Between tests: nothing of the last one is left. */
  async reset(): Promise<void> {
    await killCgroup(layout, cgroupParent);
    await rm(this.options.folder, { recursive: true, force: true });
    await removeCgroup(layout, cgroupParent);
  }

  async remove(): Promise<void> {
    await this.reset();
    for (const child of this.#servers) child.kill('SIGKILL');
    for (const namespace of [nodeNamespace, otherNamespace]) await execute('ip', ['netns', 'delete', namespace]);
    await rm(this.#folder, { recursive: true, force: true });
    await rm(this.#bundles, { recursive: true, force: true });
  }
}
