/** What a node tells the controller of itself: capacity, architecture, system. */
import { readFile } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Resources } from '../../proto/domain/resources.ts';
import { controllerFolder, type CgroupLayout } from './cgroups.ts';

/** The part of `NodeFacts` that comes from the host itself. */
export interface HostFacts {
  readonly capacity: Resources;
  readonly architecture: string;
  readonly os: string;
  readonly agentVersion: string;
}

/** Memory kept back for the system and the agent. None so far: Swarm keeps none either, reservations decide. */
export const systemReservedBytes = 0;

/** Node's names of architectures → OCI's (`GOARCH`), https://go.dev/doc/install/source#environment. */
const ociArchitectures: Readonly<Record<string, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
  ppc64: 'ppc64le',
  s390x: 's390x',
  riscv64: 'riscv64',
  loong64: 'loong64',
};

export function ociArchitecture(nodeArchitecture: string = process.arch): string {
  const name = ociArchitectures[nodeArchitecture];
  if (name === undefined) {
    throw new FrotaError('unsupported', `no container images exist for the architecture ${nodeArchitecture}`);
  }
  return name;
}

/**
 * Reads the host. `cgroupParent` is the node's own cgroup: a CPU quota or memory limit set on it or on one of its
 * ancestors bounds the node, so several nodes can share a machine.
 */
export async function readHostFacts(
  agentVersion: string,
  layout: CgroupLayout,
  cgroupParent: string,
): Promise<HostFacts> {
  // The affinity mask is already honoured by `availableParallelism` (libuv: sched_getaffinity).
  const cpuMillis = Math.min(availableParallelism() * 1_000, await cpuQuotaMillis(layout, cgroupParent));
  const memoryBytes = Math.min(totalmem(), await memoryLimitBytes(layout, cgroupParent)) - systemReservedBytes;
  return { capacity: { cpuMillis, memoryBytes }, architecture: ociArchitecture(), os: process.platform, agentVersion };
}

async function cpuQuotaMillis(layout: CgroupLayout, path: string): Promise<number> {
  const limits = pathAndAncestors(path).map(async (each) => {
    const folder = controllerFolder(layout, 'cpu', each);
    if (folder === undefined) return Infinity;
    if (layout.kind === 'v2') return parseCpuMax(await readOrEmpty(`${folder}/cpu.max`));
    const quota = await readOrEmpty(`${folder}/cpu.cfs_quota_us`);
    return parseCpuMax(`${quota.trim()} ${await readOrEmpty(`${folder}/cpu.cfs_period_us`)}`);
  });
  return Math.min(...(await Promise.all(limits)));
}

/** `cpu.max` (`max 100000`, `150000 100000`) or v1's quota and period (-1 for none) in thousandths of a core. */
export function parseCpuMax(text: string): number {
  const [quota, period] = text.trim().split(/\s+/).map(Number);
  if (quota === undefined || period === undefined || !(quota > 0) || !(period > 0)) return Infinity;
  return Math.floor((quota / period) * 1_000);
}

async function memoryLimitBytes(layout: CgroupLayout, path: string): Promise<number> {
  const file = layout.kind === 'v2' ? 'memory.max' : 'memory.limit_in_bytes';
  const limits = pathAndAncestors(path).map(async (each) => {
    const folder = controllerFolder(layout, 'memory', each);
    const bytes = folder === undefined ? NaN : Number.parseInt(await readOrEmpty(`${folder}/${file}`), 10);
    return bytes > 0 ? bytes : Infinity;
  });
  return Math.min(...(await Promise.all(limits)));
}

function pathAndAncestors(path: string): readonly string[] {
  const parts = path.split('/').filter((each) => each !== '');
  return parts.map((_, index) => `/${parts.slice(0, parts.length - index).join('/')}`).concat('/');
}

async function readOrEmpty(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    return '';
  }
}

/** What this process itself may have at the most, and so may give to a container. */
export interface ProcessBounds {
  /** Hard limit of open files; Infinity for `unlimited`. */
  readonly nofileHard: number;
  /** Capability bounding set, bit n for capability number n. */
  readonly capabilityBounds: bigint;
}

/** PURE: from the texts of `/proc/self/limits` and `/proc/self/status`. */
export function parseOwnBounds(limits: string, status: string): ProcessBounds {
  const nofile = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1];
  const bounds = /^CapBnd:\s+([0-9a-f]+)$/m.exec(status)?.[1];
  if (nofile === undefined || bounds === undefined) {
    throw new FrotaError('unsupported', '/proc/self/limits or /proc/self/status lacks what it should have');
  }
  return {
    nofileHard: nofile === 'unlimited' ? Infinity : Number(nofile),
    capabilityBounds: BigInt(`0x${bounds}`),
  };
}

export async function readOwnBounds(): Promise<ProcessBounds> {
  const [limits, status] = await Promise.all([
    readFile('/proc/self/limits', 'utf8'),
    readFile('/proc/self/status', 'utf8'),
  ]);
  return parseOwnBounds(limits, status);
}
