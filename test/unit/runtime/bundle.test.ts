import { describe, expect, it } from 'vitest';
import { buildBundle, type BundleFacts } from '../../../agent/runtime/oci/bundle.ts';
import type { ContainerUser } from '../../../agent/runtime/oci/container-user.ts';
import type { ContainerSpec } from '../../../agent/runtime/runtime.ts';

const spec: ContainerSpec = {
  id: 'task1',
  slot: 'shop/web.1',
  lowerDirs: ['/layers/b', '/layers/a'],
  args: ['/bin/server', '--port', '80'],
  environment: ['COLOUR=blue'],
  workingDir: '/srv',
  user: 'ana',
  hostname: 'boat-1',
  labels: { 'com.example.team': 'crew' },
  limits: { cpuMillis: 300, memoryBytes: 64 * 1024 * 1024, pids: 64 },
  networkNamespace: '/run/netns/task1',
  files: [{ source: '/data/files/task1/hosts', target: '/etc/hosts' }],
  mounts: [],
};
const user: ContainerUser = { uid: 1000, gid: 1001, additionalGids: [1001, 1002], home: '/home/ana' };
const facts: BundleFacts = {
  cgroupKind: 'v2',
  swapAccounting: true,
  architecture: 'amd64',
  nofileHard: 20_000,
  capabilityBounds: 0x1ffffffffffn,
};
const build = (specChange: Partial<ContainerSpec> = {}, factChange: Partial<BundleFacts> = {}) =>
  buildBundle({
    spec: { ...spec, ...specChange },
    user,
    rootPath: '/data/containers/task1/rootfs',
    cgroupsPath: '/frota/containers/task1',
    facts: { ...facts, ...factChange },
  });

describe('buildBundle', () => {
  it('writes the whole configuration, as on record', async () => {
    const text = `${JSON.stringify(build(), null, 2)}\n`;
    await expect(text).toMatchFileSnapshot('golden/bundle-v2-amd64.json.snap');
  });

  it('has a cgroup namespace on v2 only, and the mount that goes with it', () => {
    const types = (kind: BundleFacts['cgroupKind']) =>
      build({}, { cgroupKind: kind }).linux.namespaces.map((n) => n.type);
    expect(types('v2')).toEqual(['pid', 'ipc', 'uts', 'mount', 'cgroup', 'network']);
    expect(types('v1')).toEqual(['pid', 'ipc', 'uts', 'mount', 'network']);
    expect(types('hybrid')).toEqual(types('v1'));
    const mount = build({}, { cgroupKind: 'hybrid' }).mounts.find((each) => each.destination === '/sys/fs/cgroup');
    expect(mount).toMatchObject({ type: 'cgroup', options: expect.arrayContaining(['ro']) as string[] });
  });

  it('mounts volumes, memory and files, outer ones first, each in the place of what has its target', () => {
    const bind = (source: string, target: string, readOnly: boolean) => ({ kind: 'bind' as const, source, target, readOnly }); // prettier-ignore
    const own = build({
      mounts: [
        bind('/v/deep/_data', '/data/deep/', true),
        bind('/v/data/_data', '//data', false),
        { kind: 'tmpfs', target: '/dev/shm', readOnly: false, mode: 0o700, sizeBytes: 4096 },
        { kind: 'tmpfs', target: '/cache', readOnly: true, mode: 0o1777 },
      ],
      files: [...spec.files, { source: '/mem/hosts', target: '/etc/./hosts' }, { source: '/mem/t', target: '/run/secrets/t' }], // prettier-ignore
    }).mounts;
    const usual = build().mounts.map(({ destination }) => destination);
    const added = own.filter(({ destination }) => !usual.includes(destination) || destination === '/etc/hosts' || destination === '/dev/shm'); // prettier-ignore
    const file = ['bind', 'ro', 'rprivate', 'nosuid', 'nodev'];
    const tmpfs = ['nosuid', 'noexec', 'nodev', 'rprivate'];
    expect(added).toEqual([
      { destination: '/data', type: 'bind', source: '/v/data/_data', options: ['rbind', 'rprivate', 'rw'] },
      { destination: '/cache', type: 'tmpfs', source: 'tmpfs', options: [...tmpfs, 'ro', 'mode=1777'] },
      { destination: '/etc/hosts', type: 'bind', source: '/mem/hosts', options: file },
      { destination: '/data/deep', type: 'bind', source: '/v/deep/_data', options: ['rbind', 'rprivate', 'ro'] },
      { destination: '/dev/shm', type: 'tmpfs', source: 'tmpfs', options: [...tmpfs, 'rw', 'mode=700', 'size=4096'] },
      { destination: '/run/secrets/t', type: 'bind', source: '/mem/t', options: file },
    ]);
    expect(own.filter(({ destination }) => destination === '/dev/shm')).toHaveLength(1);
    expect(own.slice(0, 6).map(({ destination }) => destination)).toEqual(usual.filter((each) => each !== '/dev/shm').slice(0, 6)); // prettier-ignore
  });

  it('sets exactly the limits that were asked for', () => {
    const { devices: _, ...limits } = build().linux.resources;
    expect(limits).toEqual({
      memory: { limit: 67_108_864, swap: 67_108_864 },
      cpu: { quota: 30_000, period: 100_000 },
      pids: { limit: 64 },
    });
    expect(Object.keys(build({ limits: {} }).linux.resources)).toEqual(['devices']);
    expect(build({}, { swapAccounting: false }).linux.resources.memory).toEqual({ limit: 67_108_864 });
    expect(build({ limits: { cpuMillis: 2_500 } }).linux.resources.cpu?.quota).toBe(250_000);
    expect(build({ limits: { cpuMillis: 1 } }).linux.resources.cpu?.quota).toBe(1_000);
  });

  it('denies all devices but the harmless', () => {
    const [first, ...rest] = build().linux.resources.devices;
    expect(first).toEqual({ allow: false, access: 'rwm' });
    expect(rest.filter((rule) => rule.type === 'b')).toEqual([{ allow: true, type: 'b', access: 'm' }]);
  });

  it('never asks for more than the host can give', () => {
    expect(build().process.rlimits).toEqual([{ type: 'RLIMIT_NOFILE', hard: 20_000, soft: 20_000 }]);
    const rich = build({}, { nofileHard: Infinity }).process.rlimits;
    expect(rich).toEqual([{ type: 'RLIMIT_NOFILE', hard: 524_288, soft: 65_536 }]);
    const poor = build({}, { capabilityBounds: 0b1n }).process.capabilities;
    expect(poor).toEqual({ bounding: ['CAP_CHOWN'], effective: ['CAP_CHOWN'], permitted: ['CAP_CHOWN'] });
  });

  it('lets the spec overrule the defaults of the environment', () => {
    expect(build().process.env).toEqual([
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'HOSTNAME=boat-1',
      'HOME=/home/ana',
      'COLOUR=blue',
    ]);
    expect(build({ environment: ['HOME=/x', 'PATH=/bin', 'PATHS=1'] }).process.env).toEqual([
      'HOSTNAME=boat-1',
      'HOME=/x',
      'PATH=/bin',
      'PATHS=1',
    ]);
  });

  it.each([
    ['', '/'],
    ['srv/app', '/srv/app'],
    ['/a/../../etc', '/etc'],
  ])('makes working folder %j absolute', (workingDir, cwd) => {
    expect(build({ workingDir }).process.cwd).toBe(cwd);
  });

  it('keeps labels from being instructions to the runtime', () => {
    const keys = Object.keys(
      build({ labels: { 'run.oci.handler': 'wasm', 'org.systemd.property.X': '1' } }).annotations,
    );
    expect(keys).toEqual(['io.frota.label/run.oci.handler', 'io.frota.label/org.systemd.property.X']);
  });

  it('lists one architecture in the filter of system calls, and none where there is no policy', () => {
    expect(build().linux.seccomp?.architectures).toEqual(['SCMP_ARCH_X86_64']);
    expect(build({}, { architecture: 'arm64' }).linux.seccomp?.architectures).toEqual(['SCMP_ARCH_AARCH64']);
    expect(build({}, { architecture: 'riscv64' }).linux.seccomp).toBeUndefined();
    const allowed = new Set(
      build()
        .linux.seccomp?.syscalls.filter((rule) => rule.args === undefined && rule.errnoRet === undefined)
        .flatMap((rule) => rule.names),
    );
    for (const name of ['read', 'execve', 'futex', 'epoll_pwait', 'chroot', 'arch_prctl', 'ptrace']) {
      expect(allowed).toContain(name);
    }
    for (const name of [
      'mount',
      'unshare',
      'setns',
      'bpf',
      'kexec_load',
      'reboot',
      'io_uring_setup',
      'clone',
      'keyctl',
    ]) {
      expect(allowed).not.toContain(name);
    }
  });

  it('refuses a container with nothing to run', () => {
    expect(() => build({ args: [] })).toThrow(/no command/);
  });
});
