/**
 * Machines that run Docker, for the benchmark only: each a network, mount, uts and pid namespace with a containerd and a dockerd
 * of its own, on a bridge in a namespace that also holds a registry. Nothing touches the host's own network, cgroups apart, and
 * nothing of a package's service is used. `removeDockerNodes` removes all of it, also what an earlier run has left.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { access, mkdir, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { command, eventually, killPid, must } from '../../cluster/cluster.ts';
import { DockerApi } from './docker-api.ts';

const prefix = 'swarm-peer';
const lan = `${prefix}-lan`;
const bridge = 'lan0';
const network = '10.77.0';
const folder = join(tmpdir(), prefix);
const startWithinMs = 60_000;
/** Of a machine that Docker's packages have made; where they have not, the node's init needs them to mount over. */
const mountPoints = ['/etc/docker', '/run/docker', '/run/containerd'];

export const dockerRegistry = `${network}.1:5000`;

/** One machine. Gone and made again by a power cut and `revive`; its data stay. */
export interface DockerNode {
  readonly name: string;
  readonly address: string;
  readonly api: DockerApi;
  /** Pid 1 of its pid namespace, as the host sees it; 0 while it has no power. */
  initPid: number;
}

const isAbsent = async (path: string): Promise<boolean> =>
  access(path).then(
    () => false,
    () => true,
  );

/** The first program that is missing, or undefined where the peer can run. */
export async function missingForDocker(): Promise<string | undefined> {
  for (const program of ['dockerd', 'containerd', 'iptables', 'docker-registry', 'skopeo', 'unshare', 'nsenter']) {
    if ((await command('which', [program])).code !== 0) return program;
  }
  return undefined;
}

/** Bridge, registry and machines. The caller removes them, whatever happens. */
export async function startDockerNodes(names: readonly string[]): Promise<readonly DockerNode[]> {
  await removeDockerNodes();
  await mkdir(folder, { recursive: true });
  const made: string[] = [];
  for (const path of mountPoints) if (await isAbsent(path)) made.push(path);
  await writeFile(join(folder, 'made'), made.join('\n'));
  for (const path of mountPoints) await mkdir(path, { recursive: true });
  await must('ip', ['netns', 'add', lan]);
  await must('ip', ['-n', lan, 'link', 'set', 'lo', 'up']);
  await must('ip', ['-n', lan, 'link', 'add', bridge, 'type', 'bridge']);
  await must('ip', ['-n', lan, 'address', 'add', `${network}.1/24`, 'dev', bridge]);
  await must('ip', ['-n', lan, 'link', 'set', bridge, 'up']);
  await startRegistry();
  const nodes = names.map((name, index) => ({
    name,
    address: `${network}.${String(11 + index)}`,
    api: new DockerApi(join(folder, name, 'docker.sock')),
    initPid: 0,
  }));
  await Promise.all(nodes.map(startNode));
  return nodes;
}

/** Removes processes, namespaces, cgroups and files, whoever left them. */
export async function removeDockerNodes(): Promise<void> {
  const listed = (await command('ip', ['netns', 'list'])).stdout.split('\n').map((line) => line.split(' ')[0] ?? '');
  const ours = listed.filter((name) => name.startsWith(`${prefix}-`));
  for (const namespace of ours) {
    // With the first process of a pid namespace everything in it ends, containers too.
    for (const pid of await pidsIn(namespace)) killPid(Number(pid));
  }
  for (const namespace of ours) await eventually(async () => (await pidsIn(namespace)).length === 0);
  for (const namespace of ours) await must('ip', ['netns', 'delete', namespace]);
  await eventually(removeCgroups);
  const made = await readFile(join(folder, 'made'), 'utf8').catch(() => '');
  for (const path of made.split('\n').filter(Boolean)) await rmdir(path).catch(() => undefined);
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
}

const pidsIn = async (namespace: string): Promise<readonly string[]> =>
  (await command('ip', ['netns', 'pids', namespace])).stdout.split('\n').filter(Boolean);

async function removeCgroups(): Promise<boolean> {
  for (const hierarchy of ['', ...(await readdir('/sys/fs/cgroup'))]) {
    const root = join('/sys/fs/cgroup', hierarchy, prefix);
    if (await isAbsent(root)) continue;
    await command('find', [root, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', '+']);
    if (!(await isAbsent(root))) return false;
  }
  return true;
}

/** The cable first, then every process: no FIN and no RST gets out. */
export async function cutPower(node: DockerNode): Promise<void> {
  await must('ip', ['-n', lan, 'link', 'set', node.name, 'down']);
  killPid(node.initPid);
}

/** Power again: the same disk, interfaces made anew, as after a boot. */
export async function revive(node: DockerNode): Promise<void> {
  await eventually(async () => isAbsent(`/proc/${String(node.initPid)}`));
  node.initPid = 0;
  await command('ip', ['-n', lan, 'link', 'delete', node.name]);
  await eventually(async () => (await command('ip', ['netns', 'delete', namespaceOf(node)])).code === 0);
  await startNode(node);
}

/** Runs `program` within the machine, as a process of it. */
export function spawnWithin(node: DockerNode, program: string, args: readonly string[], log?: string): ChildProcess {
  const within = ['-t', String(node.initPid), '-m', '-u', '-n', '-p', '--', program, ...args];
  if (log === undefined) return spawn('nsenter', within, { stdio: ['pipe', 'pipe', 'inherit'] });
  return spawnLogged('nsenter', within, log);
}

/** In a session of its own, its output in a file: it ends with its machine and not with the test. */
function spawnLogged(program: string, args: readonly string[], log: string): ChildProcess {
  const file = openSync(log, 'a');
  const child = spawn(program, args, { stdio: ['ignore', file, file], detached: true });
  closeSync(file);
  child.on('error', () => undefined);
  child.unref();
  return child;
}

const namespaceOf = ({ name }: Pick<DockerNode, 'name'>): string => `${prefix}-${name}`;

async function startNode(node: DockerNode): Promise<void> {
  const own = join(folder, node.name);
  for (const part of ['docker', 'containerd', 'etc', 'cgroups']) await mkdir(join(own, part), { recursive: true });
  const namespace = namespaceOf(node);
  await must('ip', ['netns', 'add', namespace]);
  await must('ip', ['-n', lan, 'link', 'add', node.name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace]);
  await must('ip', ['-n', lan, 'link', 'set', node.name, 'master', bridge, 'up']);
  await must('ip', ['-n', namespace, 'address', 'add', `${node.address}/24`, 'dev', 'eth0']);
  for (const link of ['lo', 'eth0']) await must('ip', ['-n', namespace, 'link', 'set', link, 'up']);
  await must('ip', ['-n', namespace, 'route', 'add', 'default', 'via', `${network}.1`]);
  node.initPid = await startInit(node.name, own);
  await startDaemons(node, own);
}

/** @returns pid 1 of the machine, as the host sees it */
async function startInit(name: string, own: string): Promise<number> {
  const ready = join(own, 'ready');
  await rm(ready, { force: true });
  await writeFile(join(own, 'init.sh'), initScript(name, own));
  const apart = ['unshare', '-m', '-u', '-p', '-f', '--kill-child', '--mount-proc', '--propagation', 'private'];
  const args = [`--net=/run/netns/${prefix}-${name}`, '--', ...apart, 'sh', join(own, 'init.sh')];
  const child = spawnLogged('nsenter', args, join(own, 'init.log'));
  await eventually(async () => !(await isAbsent(ready)));
  const pid = String(child.pid);
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return Number(children.trim());
}

/**
 * Waits and reaps, nothing else. `/sys` of its own network namespace, with the host's cgroups put back; the places that all
 * daemons of a machine share are its own.
 */
const initScript = (name: string, own: string): string => `set -e
hostname ${name}
mount --rbind /sys/fs/cgroup ${own}/cgroups
mount -t sysfs sysfs /sys
mount --rbind ${own}/cgroups /sys/fs/cgroup
umount -l ${own}/cgroups
mount --bind ${own}/etc /etc/docker
mount -t tmpfs tmpfs /run/docker
mount -t tmpfs tmpfs /run/containerd
touch ${own}/ready
while :; do sleep 3600 & wait $!; done
`;

async function startDaemons(node: DockerNode, own: string): Promise<void> {
  const socket = '/run/containerd/containerd.sock';
  await writeFile(join(own, 'containerd.toml'), containerdConfig(own, socket));
  spawnWithin(node, 'containerd', ['-c', join(own, 'containerd.toml')], join(own, 'containerd.log'));
  const isThere = async (): Promise<boolean> => {
    const seen = await command('nsenter', ['-t', String(node.initPid), '-m', '--', 'test', '-S', socket]);
    return seen.code === 0;
  };
  await eventually(isThere, startWithinMs);
  const storage = ['--data-root', join(own, 'docker'), '--exec-root', '/run/docker', '--storage-driver', 'overlay2'];
  const control = ['--exec-opt', 'native.cgroupdriver=cgroupfs', '--cgroup-parent', `/${prefix}/${node.name}`];
  const others = ['--insecure-registry', dockerRegistry, '--pidfile', '/run/docker/docker.pid', '--log-level', 'warn'];
  const listen = ['-H', `unix://${join(own, 'docker.sock')}`, '--containerd', socket];
  await rm(join(own, 'docker.sock'), { force: true });
  spawnWithin(node, 'dockerd', [...listen, ...storage, ...control, ...others], join(own, 'dockerd.log'));
  await eventually(async () => (await node.api.get<{ ID: string }>('/info')).ID !== '', startWithinMs);
}

const containerdConfig = (own: string, socket: string): string => `version = 2
root = "${join(own, 'containerd')}"
state = "/run/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "${socket}"
`;

async function startRegistry(): Promise<void> {
  const config = {
    version: '0.1',
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, 'registry') } },
    http: { addr: dockerRegistry },
  };
  // YAML contains JSON.
  await writeFile(join(folder, 'registry.yml'), JSON.stringify(config));
  const args = [`--net=/run/netns/${lan}`, 'docker-registry', 'serve', join(folder, 'registry.yml')];
  const child = spawnLogged('nsenter', args, join(folder, 'registry.log'));
  await once(child, 'spawn');
  await eventually(async () => {
    const asked = await command('nsenter', [`--net=/run/netns/${lan}`, 'curl', '-sf', `http://${dockerRegistry}/v2/`]);
    return asked.code === 0;
  });
}

/** Pushes an OCI layout from within the bridge's namespace, where alone the registry is reached. */
export async function pushToDockerRegistry(layout: string, name: string): Promise<string> {
  const to = `docker://${dockerRegistry}/${name}`;
  const copy = ['skopeo', 'copy', '--quiet', '--dest-tls-verify=false', `oci:${layout}`, to];
  await must('nsenter', [`--net=/run/netns/${lan}`, ...copy]);
  return `${dockerRegistry}/${name}`;
}
