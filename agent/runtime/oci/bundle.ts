/** PURE: a container's spec and this host's facts → the OCI runtime configuration, with Docker's defaults. */
import { posix } from 'node:path';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { ResourceLimits } from '../../../proto/domain/resources.ts';
import type { ContainerSpec } from '../runtime.ts';
import type { ContainerUser } from './container-user.ts';
import { containerMounts } from './container-mounts.ts';
import type { OciSpec } from './oci-spec.ts';
import { defaultSeccomp } from './seccomp.ts';

/** What of the host shapes a bundle. */
export interface BundleFacts {
  readonly cgroupKind: 'v1' | 'hybrid' | 'v2';
  /** v1 kernels may lack swap accounting, and then refuse a swap limit. */
  readonly swapAccounting: boolean;
  readonly architecture: string;
  /** The agent's own hard limit: more can't be given without CAP_SYS_RESOURCE. */
  readonly nofileHard: number;
  /** The agent's capability bounding set (`CapBnd`): a container can't have what is not in it. */
  readonly capabilityBounds: bigint;
}

export interface BundleInput {
  readonly spec: ContainerSpec;
  readonly user: ContainerUser;
  /** The mounted root filesystem. */
  readonly rootPath: string;
  readonly cgroupsPath: string;
  readonly facts: BundleFacts;
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** systemd's and containerd's hard limit; more makes programs that walk all descriptors slow. */
const wantedNofileHard = 524_288;
/** Enough for busy servers that never raise it themselves; Docker's old million made some programs crawl. */
const wantedNofileSoft = 65_536;
const cpuPeriodUs = 100_000;
/** The kernel refuses smaller quotas. */
const minCpuQuotaUs = 1_000;
/** Labels are a person's words; under a prefix none can be taken for an instruction to the runtime. */
export const labelPrefix = 'io.frota.label/';

/** Docker's default capabilities, with their bit numbers (capability.h). */
const defaultCapabilities: readonly (readonly [name: string, bit: bigint])[] = [
  ['CAP_CHOWN', 0n],
  ['CAP_DAC_OVERRIDE', 1n],
  ['CAP_FOWNER', 3n],
  ['CAP_FSETID', 4n],
  ['CAP_KILL', 5n],
  ['CAP_SETGID', 6n],
  ['CAP_SETUID', 7n],
  ['CAP_SETPCAP', 8n],
  ['CAP_NET_BIND_SERVICE', 10n],
  ['CAP_NET_RAW', 13n],
  ['CAP_SYS_CHROOT', 18n],
  ['CAP_MKNOD', 27n],
  ['CAP_AUDIT_WRITE', 29n],
  ['CAP_SETFCAP', 31n],
];

const maskedPaths = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

const character = { allow: true, type: 'c', access: 'rwm' } as const;
/** null, zero, full, random, urandom, tty, console, ptmx and pts; any node may be made, but only these opened. */
const deviceRules = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...[3, 5, 7, 8, 9].map((minor) => ({ ...character, major: 1, minor })),
  ...[0, 1, 2].map((minor) => ({ ...character, major: 5, minor })),
  { ...character, major: 136 },
];

/** Throws `invalid` for a spec that no container can be made of. */
export function buildBundle({ spec, user, rootPath, cgroupsPath, facts }: BundleInput): OciSpec {
  if (spec.args.length === 0) {
    throw new FrotaError('invalid', 'no command: neither the service nor its image says what to run; set `command`');
  }
  const capabilities = defaultCapabilities
    .filter(([, bit]) => (facts.capabilityBounds >> bit) & 1n)
    .map(([name]) => name);
  const nofileHard = Math.min(wantedNofileHard, facts.nofileHard);
  const seccomp = defaultSeccomp(facts.architecture);
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args: spec.args,
      env: completeEnvironment(spec, user.home),
      cwd: posix.resolve('/', spec.workingDir),
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: nofileHard, soft: Math.min(wantedNofileSoft, nofileHard) }],
      oomScoreAdj: 0,
      noNewPrivileges: false,
    },
    root: { path: rootPath, readonly: false },
    hostname: spec.hostname,
    mounts: containerMounts(spec, facts.cgroupKind),
    annotations: Object.fromEntries(Object.entries(spec.labels).map(([key, value]) => [`${labelPrefix}${key}`, value])),
    linux: {
      cgroupsPath,
      namespaces: namespaces(spec.networkNamespace, facts),
      // Docker's: the namespace is the container's own, so low ports and ping need no privilege in it.
      sysctl: { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' },
      resources: { devices: deviceRules, ...resources(spec.limits, facts) },
      ...(seccomp === undefined ? {} : { seccomp }),
      maskedPaths,
      readonlyPaths,
    },
  };
}

/** What a program may expect to be set is set, where the spec does not say otherwise. */
function completeEnvironment(spec: ContainerSpec, home: string): readonly string[] {
  const defaults = { PATH: defaultPath, HOSTNAME: spec.hostname, HOME: home };
  const missing = Object.entries(defaults).filter(
    ([key]) => !spec.environment.some((each) => each.startsWith(`${key}=`)),
  );
  return [...missing.map(([key, value]) => `${key}=${value}`), ...spec.environment];
}

function namespaces(networkPath: string, facts: BundleFacts): OciSpec['linux']['namespaces'] {
  const own = ['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type }));
  // On v1 a cgroup namespace would hide the limits from programs that read them by /proc/self/cgroup.
  const cgroup = facts.cgroupKind === 'v2' ? [{ type: 'cgroup' }] : [];
  return [...own, ...cgroup, { type: 'network', path: networkPath }];
}

function resources(limits: ResourceLimits, facts: BundleFacts): Omit<OciSpec['linux']['resources'], 'devices'> {
  const { memoryBytes, cpuMillis, pids } = limits;
  return {
    // Swap in OCI terms is memory and swap together: equal means none.
    ...(memoryBytes === undefined
      ? {}
      : { memory: { limit: memoryBytes, ...(facts.swapAccounting ? { swap: memoryBytes } : {}) } }),
    ...(cpuMillis === undefined
      ? {}
      : {
          cpu: { period: cpuPeriodUs, quota: Math.max(minCpuQuotaUs, Math.round((cpuMillis * cpuPeriodUs) / 1_000)) },
        }),
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
  };
}
