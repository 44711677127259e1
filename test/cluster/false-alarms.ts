/** What makes nodes look dead that are not, each for a stated time: who was called lost, and whose endpoints went. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeView } from '../../proto/domain/views.ts';
import type { LayerEntry } from '../builders/oci-image.ts';
import { eventually, must, pidOfPart } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox } from './images.ts';

export interface Alarms {
  /** Every state of a node that was seen, other than ready and suspect, with its reason. */
  readonly states: readonly string[];
  /** How often each node's VIP chains were read, and with how many endpoints at the least. */
  readonly readings: number;
  readonly fewestEndpoints: number;
}

/** Looks every 100 ms, for so long, and once more at the end. */
export async function watchAlarms(cluster: TestCluster, nodeNames: readonly string[], forMs: number): Promise<Alarms> {
  const states = new Set<string>();
  let readings = 0;
  let fewestEndpoints = Infinity;
  const end = performance.now() + forMs;
  do {
    const listed = await cluster.frota('node', 'ls', '-o', 'json');
    // A controller that is stopped answers nobody; it is asked again.
    if (listed.code === 0) {
      for (const { name, state, notes } of JSON.parse(listed.stdout) as readonly NodeView[]) {
        if (state !== 'ready' && state !== 'suspect') states.add(`${name} ${state}: ${notes.join('; ')}`);
      }
    }
    for (const name of nodeNames) {
      readings += 1;
      fewestEndpoints = Math.min(fewestEndpoints, await endpointsOn(cluster, name));
    }
    await sleep(100);
  } while (performance.now() < end);
  return { states: [...states], readings, fewestEndpoints };
}

/** Endpoints behind port 8080 on this node, as its kernel has them. */
async function endpointsOn({ name: cluster }: TestCluster, node: string): Promise<number> {
  const chain = ['list', 'chain', 'ip', 'frota', 'port/tcp/8080'];
  const listed = await must('ip', ['netns', 'exec', `frota-${cluster}-${node}`, 'nft', ...chain]);
  return new Set(listed.match(/\d+\.\d+\.\d+\.\d+/g)).size;
}

/** Both cores at work for as long as `work` takes. */
export async function underLoad<T>(work: () => Promise<T>): Promise<T> {
  const burners: ChildProcess[] = [0, 1, 2, 3].map(() => spawn(process.execPath, ['-e', 'for (;;);']));
  try {
    return await work();
  } finally {
    for (const burner of burners) burner.kill('SIGKILL');
  }
}

/** A fifth of the UDP datagrams that reach these nodes is dropped while `work` runs. */
export async function withLoss<T>({ name: cluster }: TestCluster, nodes: readonly string[], work: () => Promise<T>) {
  const nft = (node: string, ...args: string[]) =>
    must('ip', ['netns', 'exec', `frota-${cluster}-${node}`, 'nft', ...args]);
  for (const node of nodes) {
    await nft(node, 'add', 'table', 'ip', 'loss');
    await nft(node, 'add', 'chain', 'ip', 'loss', 'in', '{ type filter hook input priority -300; }');
    await nft(node, 'add', 'rule', 'ip', 'loss', 'in', 'meta', 'l4proto', 'udp', 'numgen', 'random', 'mod', '100', '<', '20', 'drop'); // prettier-ignore
  }
  try {
    return await work();
  } finally {
    for (const node of nodes) await nft(node, 'delete', 'table', 'ip', 'loss');
  }
}

/** The controller stands still for 2 s, then runs for 2 s, again and again while `work` runs. */
export async function withFreezes<T>(cluster: TestCluster, work: () => Promise<T>): Promise<T> {
  const pid = await pidOfPart(cluster, 'c1');
  const began = await startTimeOf(pid);
  const abort = new AbortController();
  const freezing = (async () => {
    while (!abort.signal.aborted) {
      process.kill(pid, 'SIGSTOP');
      await sleep(2_000);
      process.kill(pid, 'SIGCONT');
      await sleep(2_000);
    }
  })();
  try {
    return await work();
  } finally {
    abort.abort();
    await freezing;
    if ((await startTimeOf(pid)) !== began) throw new Error('the controller was started anew meanwhile');
  }
}

const startTimeOf = async (pid: number): Promise<string> =>
  (await readFile(`/proc/${String(pid)}/stat`, 'utf8')).split(') ')[1]?.split(' ')[19] ?? '';

/** Of one image; a layer of its own each time, or nothing would be unpacked. Not compressed: making them must not be the load. */
const unpackedFiles = 3_000;
const unpackedFileBytes = 20 * 1024;
/** Nothing removes images yet, and each is on the disk three times. */
const maxUnpacked = 150;

/**
 * An agent unpacks one large image after another while `work` runs: each version of a stack on that node has a new one. Its spare
 * node unpacks them too.
 */
export async function unpackingOn<T>(
  cluster: TestCluster,
  node: string,
  work: () => Promise<T>,
): Promise<{ readonly alarms: T; readonly unpacked: number }> {
  const abort = new AbortController();
  let unpacked = 0;
  const bytes = randomBytes(unpackedFileBytes);
  const unpackOne = async (round: number): Promise<void> => {
    const files = Array.from({ length: unpackedFiles }, (_, index): LayerEntry => {
      return { type: 'file', path: `large/${String(round)}-${String(index)}`, content: bytes };
    });
    const image = await pushBusybox(cluster.registry, `test/large:${String(round)}`, {}, [
      { entries: files, compression: 'none' },
    ]);
    const applied = await cluster.apply(`
name: unpack
services:
  large:
    image: ${image}
    command: ["sleep", "1000000"]
    stop_grace_period: 0s
    deploy: {placement: {constraints: [node.hostname == ${node}]}, update_config: {monitor: 0s}}
`);
    if (applied.code !== 0) throw new Error(applied.stderr);
    await eventually(async () => {
      const tasks = await cluster.tasks('large');
      return tasks.some((task) => task.image.startsWith(image) && task.state === 'running');
    }, 60_000);
    unpacked += 1;
  };
  const unpacking = (async () => {
    for (let round = 1; !abort.signal.aborted && round <= maxUnpacked; round += 1) await unpackOne(round);
  })();
  try {
    const [alarms] = await Promise.all([work().finally(() => abort.abort()), unpacking]);
    return { alarms, unpacked };
  } finally {
    abort.abort();
    await unpacking.catch(() => undefined);
    await cluster.frota('rm', 'unpack', '--wait');
  }
}
