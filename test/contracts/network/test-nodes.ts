/** Three nodes behind a switch, each a network namespace, with agents' network adapters running in them. */
import { execFile, spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import type { Attachment, DesiredNetwork } from '../../../agent/network/network.ts';
import type { NetworkUnit } from '../../../proto/domain/assignment.ts';
import type { DriverOptions } from './node-driver.ts';

const execute = promisify(execFile);

export const switchNamespace = 'ft-net-switch';
export const switchAddress = '192.168.77.1';
/** Reached through the default route only. */
export const outsideAddress = '203.0.113.1';
const nodeNames = ['a', 'b', 'c'] as const;

export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

export async function command(program: string, ...args: readonly string[]): Promise<CommandResult> {
  try {
    const { stdout, stderr } = await execute(program, args);
    return { stdout, stderr, code: 0 };
  } catch (error) {
    const { stdout = '', stderr = '', code } = error as { stdout?: string; stderr?: string; code?: number | string };
    return { stdout, stderr, code: typeof code === 'number' ? code : -1 };
  }
}

/** In a namespace given by its path or its name. */
export const inside = (namespace: string, program: string, ...args: readonly string[]): Promise<CommandResult> => {
  const path = namespace.startsWith('/') ? namespace : `/run/netns/${namespace}`;
  return command('nsenter', `--net=${path}`, program, ...args);
};

/** Body of `http://HOST:PORT/`, or `failed CODE after MS ms` where 7 is refused and 28 timed out. */
export async function get(namespace: string, host: string, ...options: readonly string[]): Promise<string> {
  const startedAt = performance.now();
  const result = await inside(namespace, 'curl', '-s', '--max-time', '3', ...options, `http://${host}/`);
  if (result.code === 0) return result.stdout.trim();
  return `failed ${result.code}${performance.now() - startedAt < 1000 ? ' at once' : ''}`;
}

/** One datagram and its answer. */
export async function ask(namespace: string, host: string, port: number): Promise<string> {
  const script = `exec 3<>/dev/udp/${host}/${port}; echo hello >&3; head -n1 <&3`;
  const result = await inside(namespace, 'timeout', '2', 'bash', '-c', script);
  return result.stdout.trim() === '' ? `failed ${result.stderr.trim().split(': ').at(-1) ?? ''}` : result.stdout.trim();
}

export class TestNode {
  readonly name: string;
  readonly namespace: string;
  readonly address: string;
  readonly subnet: string;
  readonly overlayAddress: string;
  readonly options: DriverOptions;
  readonly #program: string;
  readonly #pending = new Map<number, (reply: Reply) => void>();
  #child: ChildProcessWithoutNullStreams | undefined;
  #nextId = 0;
  log = '';
  linkBacks = 0;

  constructor(index: number, folder: string, program: string) {
    this.name = nodeNames[index] ?? '';
    this.namespace = `ft-net-${this.name}`;
    this.address = `192.168.77.${11 + index}`;
    this.subnet = `10.64.${index}.0/24`;
    this.overlayAddress = `10.64.${index}.1`;
    this.#program = program;
    this.options = {
      nodeAddress: this.address,
      nodeSubnet: this.subnet,
      stateDir: join(folder, this.name, 'network'),
      namePrefix: `ft-net-${this.name}`,
      resolvers: [switchAddress],
    };
  }

  async start(more: Partial<DriverOptions> = {}): Promise<void> {
    const options = JSON.stringify({ ...this.options, ...more });
    const args = [`--net=/run/netns/${this.namespace}`, process.execPath, this.#program, options];
    const child = spawn('nsenter', args);
    this.#child = child;
    child.stderr.on('data', (chunk: Buffer) => (this.log += chunk.toString()));
    const ready = new Promise<void>((resolve, reject) => {
      child.once('exit', () => {
        reject(new Error(`driver of ${this.name} ended: ${this.log}`));
      });
      createInterface({ input: child.stdout }).on('line', (line) => {
        const reply = JSON.parse(line) as Reply;
        if (reply.event === 'ready') resolve();
        else if (reply.event === 'link back') this.linkBacks += 1;
        else this.#pending.get(reply.id ?? -1)?.(reply);
      });
    });
    await ready;
  }

  /** As the kernel ends an agent: no last word. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async call(op: string, argument?: unknown): Promise<Reply> {
    const child = this.#child;
    if (child === undefined) throw new Error(`the driver of ${this.name} does not run`);
    this.#nextId += 1;
    const id = this.#nextId;
    const reply = new Promise<Reply>((resolve) => this.#pending.set(id, resolve));
    child.stdin.write(`${JSON.stringify({ id, op, argument })}\n`);
    const settled = await reply;
    this.#pending.delete(id);
    if (settled.error !== undefined) throw new Error(settled.error);
    return settled;
  }

  send(request: string): void {
    this.#child?.stdin.write(request);
  }

  async attach(taskId: string, ...networks: readonly string[]): Promise<Attachment> {
    return (await this.timedAttach(taskId, ...networks)).result as Attachment;
  }

  timedAttach(taskId: string, ...networks: readonly string[]): Promise<Reply> {
    const on = networks.length === 0 ? ['hello_default'] : networks;
    return this.call('attach', { taskId, place: { stack: 'hello', networks: on } });
  }

  async list(): Promise<readonly Attachment[]> {
    return (await this.call('list')).result as readonly Attachment[];
  }
}

export interface Reply {
  readonly event?: string;
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: string;
  readonly ms?: number;
}

export class TestNetwork {
  readonly folder = mkdtempSync(join(tmpdir(), 'ft-net-'));
  readonly nodes: readonly TestNode[];
  readonly #servers: ChildProcessWithoutNullStreams[] = [];

  constructor() {
    this.nodes = nodeNames.map((_, index) => new TestNode(index, this.folder, join(this.folder, 'node-driver.mjs')));
  }

  async start(): Promise<void> {
    await removeLeftovers();
    const here = fileURLToPath(new URL('.', import.meta.url));
    await build({
      entryPoints: ['node-driver', 'echo-server', 'dns-client', 'dns-resolver'].map((name) => join(here, `${name}.ts`)),
      outdir: this.folder,
      outExtension: { '.js': '.mjs' },
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      logLevel: 'error',
      // dns-packet is CommonJS and asks for Node's own modules in its way.
      banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    });
    const lines = [
      `netns add ${switchNamespace}`,
      ...this.nodes.flatMap((node) => [
        `netns add ${node.namespace}`,
        `link add ${node.namespace} netns ${switchNamespace} type veth peer name eth0 netns ${node.namespace}`,
      ]),
    ];
    await this.#must('bash', '-c', `ip -batch - <<'E'\n${lines.join('\n')}\nE`);
    const bridge = [
      'link add br0 type bridge',
      'link set br0 up',
      'link set lo up',
      `address add ${switchAddress}/24 dev br0`,
      `address add ${outsideAddress}/32 dev lo`,
      ...this.nodes.map((node) => `link set ${node.namespace} master br0 up`),
    ];
    await this.#must('bash', '-c', `ip -n ${switchNamespace} -batch - <<'E'\n${bridge.join('\n')}\nE`);
    for (const node of this.nodes) {
      const own = [
        'link set lo up',
        `address add ${node.address}/24 dev eth0`,
        'link set eth0 up',
        `route add default via ${switchAddress}`,
      ];
      await this.#must('bash', '-c', `ip -n ${node.namespace} -batch - <<'E'\n${own.join('\n')}\nE`);
      await node.start();
    }
  }

  unit(...internal: readonly string[]): NetworkUnit {
    return {
      kind: 'network',
      containerPool: '10.64.0.0/12',
      vipPool: '10.96.0.0/16',
      peers: this.nodes.map(({ name, address, subnet }) => ({ nodeId: `id-${name}`, name, address, subnet })),
      internal,
    };
  }

  async applyAll(services: DesiredNetwork['services']): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.call('apply', { network: this.unit(), services })));
  }

  /** Starts the echo server in a container's namespace. */
  async serve(attachment: Attachment, name: string): Promise<() => Promise<void>> {
    const args = [`--net=${attachment.namespace}`, process.execPath, join(this.folder, 'echo-server.mjs'), name];
    const server = spawn('nsenter', args);
    this.#servers.push(server);
    await once(server.stdout, 'data');
    return async () => {
      if (server.exitCode !== null || server.signalCode !== null) return;
      const ended = once(server, 'exit');
      server.kill('SIGKILL');
      await ended;
    };
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) server.kill('SIGKILL');
    for (const node of this.nodes) await node.kill();
    await removeLeftovers();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #must(program: string, ...args: readonly string[]): Promise<void> {
    const result = await command(program, ...args);
    if (result.code !== 0) throw new Error(`${program} ${args.join(' ')}: ${result.stderr}`);
  }
}

/** Namespaces of these tests, and what still runs in them, from this run or one that was cut short. */
export async function leftovers(): Promise<readonly string[]> {
  const names = await readdir('/run/netns').catch(() => []);
  return names.filter((name) => name.startsWith('ft-net-') || name.startsWith('frota-ft-net-'));
}

async function removeLeftovers(): Promise<void> {
  for (const name of await leftovers()) {
    const { stdout } = await command('ip', 'netns', 'pids', name);
    for (const pid of stdout.split('\n').filter((line) => line !== '')) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
    await command('ip', 'netns', 'delete', name);
  }
}
