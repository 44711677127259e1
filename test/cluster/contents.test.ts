/** Configs, secrets and volumes on a real cluster: what containers find, what is on no disk, what stays. */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  command,
  eventually,
  frotaProgram,
  killPid,
  must,
  pidOfPart,
  startTestCluster,
  stopTestCluster,
} from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox } from './images.ts';
import { startPrivateRegistry } from '../builders/private-registry.ts';
import type { PrivateRegistry } from '../builders/private-registry.ts';

let cluster: TestCluster;
let image = '';
const stateFolder = '/var/lib/frota/clusters/test-contents';
const runFolder = '/run/frota/test-contents';
/** Not to be found anywhere but in memory. It stands in this file only, which no search below looks at. */
const firstSecret = 'Xanthippe-sails-at-dawn-7c1f';
const secondSecret = 'Xanthippe-stays-ashore-93ab';

beforeAll(async () => {
  cluster = await startTestCluster('contents', 2);
  image = await pushBusybox(cluster.registry);
});
afterAll(() => stopTestCluster(cluster));

/** Says what it finds, then stays. */
const look = [
  'cat /site.conf /run/secrets/token',
  'stat -c "%a %u:%g" /run/secrets/token /site.conf',
  'echo no > /run/secrets/token || echo refused',
  'echo done',
  'exec sleep 3600',
].join('; ');

const compose = (greeting: string): string => `
name: mail
services:
  app:
    image: ${image}
    command: ["sh", "-c", ${JSON.stringify(look)}]
    stop_grace_period: 0s
    configs: [{source: site, target: /site.conf}]
    secrets: [{source: token, uid: "1000", gid: "1001", mode: 0440}]
configs: {site: {content: "greeting=${greeting}\\n"}}
secrets: {token: {file: token.txt}}
`;

const tasks = async (of: string) => cluster.tasks(of);
const log = async (task: { id: string; node: string | null } | undefined): Promise<string> => {
  const path = join(stateFolder, task?.node ?? '', 'containers', task?.id ?? '', 'log');
  const lines = (await readFile(path, 'utf8')).trim().split('\n');
  return lines.map((line) => line.split(' ').slice(3).join(' ')).join('\n');
};
const sourceOf = (secret: string) => writeFile(join(cluster.folder, 'token.txt'), `${secret}\n`);

/** Files below the cluster's folders that hold the text, containers' own output apart: that is where the test prints it. */
async function placesOf(text: string): Promise<readonly string[]> {
  const found = await command('grep', ['-rlaF', text, stateFolder]);
  return found.stdout.split('\n').filter((path) => path !== '' && !/\/containers\/[^/]+\/log$/.test(path));
}

describe('configs and secrets', () => {
  it('are files of the container, with owner and mode, that it cannot change', async () => {
    await sourceOf(firstSecret);
    const applied = await cluster.apply(compose('ola'), '--wait', '--timeout', '60s');
    expect(applied.code, applied.stderr).toBe(0);
    const [task] = await tasks('mail/app');
    await eventually(async () => {
      expect(await log(task)).toContain('done');
    });
    const lines = (await log(task)).split('\n');
    expect(lines.slice(0, 4)).toEqual(['greeting=ola', firstSecret, '440 1000:1001', '444 0:0']);
    expect(lines.join('\n')).toContain('refused');
  });

  it('are nowhere on a disk, in no log, no answer', async () => {
    expect(await placesOf('greeting=')).not.toEqual([]);
    expect(await placesOf(firstSecret)).toEqual([]);
    expect(await placesOf(Buffer.from(firstSecret).toString('base64').slice(0, 36))).toEqual([]);
    for (const args of [['ps', '--all'], ['ls'], ['inspect', 'mail'], ['events']]) {
      const { stdout, stderr } = await cluster.frota(...args, '-o', 'json');
      expect(stdout + stderr).not.toContain(firstSecret);
    }
    const [task] = await tasks('mail/app');
    const memory = join(runFolder, task?.node ?? '', 'contents');
    expect(await must('findmnt', ['-no', 'FSTYPE', memory])).toBe('tmpfs\n');
    const other = task?.node === 'n1' ? 'n2' : 'n1';
    expect(await readdir(join(runFolder, other))).not.toContain('contents');
  });

  it('stay with their container when the agent dies, and replace the task when their content changes', async () => {
    const [before] = await tasks('mail/app');
    killPid(await pidOfPart(cluster, before?.node ?? ''));
    await eventually(async () => {
      expect((await cluster.nodes()).every(({ state }) => state === 'ready')).toBe(true);
      await pidOfPart(cluster, before?.node ?? '');
    });
    expect((await cluster.apply(compose('ola'), '--wait')).stdout).toContain('nothing to change');
    expect((await tasks('mail/app'))[0]?.id).toBe(before?.id);
    await sourceOf(secondSecret);
    expect((await cluster.apply(compose('ola'), '--wait', '--timeout', '60s')).code).toBe(0);
    const [after] = await tasks('mail/app');
    expect(after?.id).not.toBe(before?.id);
    await eventually(async () => {
      expect(await log(after)).toContain(secondSecret);
    });
    expect(await placesOf(secondSecret)).toEqual([]);
  });

  it('are waited for while the controller is away, and go with their stack', async () => {
    const controller = await pidOfPart(cluster, 'c1');
    killPid(controller);
    const again = await eventually(() => cluster.apply(compose('adeus'), '--wait', '--timeout', '60s'));
    expect(again.code, again.stderr).toBe(0);
    expect((await cluster.frota('rm', 'mail', '--wait')).code).toBe(0);
    await eventually(async () => {
      for (const node of ['n1', 'n2']) expect(await readdir(join(runFolder, node))).not.toContain('contents');
    });
  });
});

describe('a controller', () => {
  it('does not start with another key than that of its secrets, and says where it looked', async () => {
    const keyPath = join(cluster.folder, 'other.key');
    await writeFile(keyPath, `${'0'.repeat(64)}\n`, { mode: 0o600 });
    const copy = join(cluster.folder, 'controller');
    await sourceOf(firstSecret);
    expect((await cluster.apply(compose('ola'), '--wait')).code).toBe(0);
    await must('cp', ['-a', join(stateFolder, 'controller'), copy]);
    const listen = ['--listen', '127.0.0.1:17400', '--join-listen', '127.0.0.1:17401', '--liveness-listen', '127.0.0.1:17402']; // prettier-ignore
    const program = join(import.meta.dirname, '../../bin/frota');
    const wrong = await command(program, ['controller', '--data', copy, ...listen, '--key-file', keyPath]);
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toContain(`${keyPath} is not the key that the store's secrets`);
    await rm(join(copy, 'secrets.key'));
    const missing = await command(program, ['controller', '--data', copy, ...listen]);
    expect(missing.code).not.toBe(0);
    expect(missing.stderr).toContain(`put back ${join(copy, 'secrets.key')}`);
    await cluster.frota('rm', 'mail', '--wait');
  });
});

describe('a named volume', () => {
  const volumes = (generation: number): string => `
name: store
services:
  app:
    image: ${image}
    command: ["sh", "-c", "echo ${String(generation)} >> /data/log; cat /data/log; exec sleep 3600"]
    stop_grace_period: 0s
    volumes: ["data:/data", {type: tmpfs, target: /scratch}]
    deploy: {placement: {constraints: ["node.hostname == n1"]}}
volumes: {data: {}}
`;

  it('survives tasks, the agent and the stack, with its data', async () => {
    expect((await cluster.apply(volumes(1), '--wait', '--timeout', '60s')).code).toBe(0);
    expect((await cluster.apply(volumes(2), '--wait', '--timeout', '60s')).code).toBe(0);
    killPid(await pidOfPart(cluster, 'n1'));
    await eventually(() => pidOfPart(cluster, 'n1'));
    expect((await cluster.frota('rm', 'store', '--wait')).code).toBe(0);
    expect((await cluster.apply(volumes(3), '--wait', '--timeout', '60s')).code).toBe(0);
    const [task] = await tasks('store/app');
    await eventually(async () => {
      expect(await log(task)).toBe('1\n2\n3');
    });
    expect(await readdir(join(stateFolder, 'n1', 'volumes'))).toContain('store_data');
    expect((await cluster.frota('rm', 'store', '--wait')).code).toBe(0);
    await eventually(async () => {
      expect(await must('findmnt', ['-rno', 'TARGET'])).not.toContain(`${stateFolder}/n1`);
    });
  });

  it('and a folder of the node that is not there is told with node, service and path', async () => {
    const missing = `
name: host
services:
  app:
    image: ${image}
    command: ["sleep", "3600"]
    volumes: [{type: bind, source: /nowhere/at/all, target: /x}]
`;
    await cluster.apply(missing);
    await eventually(async () => {
      const all = await cluster.tasks('host/app', '--all');
      const told = all.find(({ state }) => state === 'rejected');
      expect(told?.reason).toMatch(/^node n[12], service host\/app, mount at \/x: \/nowhere\/at\/all does not exist on this node/); // prettier-ignore
    });
    expect((await cluster.frota('rm', 'host', '--wait')).code).toBe(0);
  });
});

describe.each(['basic', 'bearer'] as const)('a private registry that wants %s', (kind) => {
  const [password, changed] = [`Ulysses-${kind}-first-41`, `Ulysses-${kind}-second-42`];
  let registry: PrivateRegistry;
  beforeAll(async () => {
    const [address = ''] = cluster.registry.split(':');
    registry = await startPrivateRegistry({ kind, address, upstream: cluster.registry, username: 'ana', password });
  });
  afterAll(() => registry.stop());

  const login = (secret: string, ...args: string[]) =>
    command(
      'sh',
      ['-c', 'printf "%s\\n" "$SECRET" | "$0" "$@"', frotaProgram, 'registry', 'login', registry.host, '-u', 'ana', '--password-stdin', ...args], // prettier-ignore
      { ...cluster.environment, SECRET: secret },
    );
  const stack = (command: string): string => `
name: private
services:
  app:
    image: ${registry.host}/test/busybox:1
    command: ${command}
    stop_grace_period: 0s
`;

  it('is pulled from once the cluster is logged in, by apply and by the node, and again with a changed password', async () => {
    const refused = await cluster.apply(stack('["sleep", "3600"]'));
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/refuses the pull|gives no token/);
    const wrong = await login('not the password');
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('"ana"')]);
    const right = await login(password);
    expect(right.code, right.stderr).toBe(0);
    expect(await cluster.json('registry', 'ls')).toEqual([{ registry: registry.host, username: 'ana' }]);
    expect((await cluster.apply(stack('["sleep", "3600"]'), '--wait', '--timeout', '60s')).code).toBe(0);
    registry.setPassword(changed);
    expect((await login(changed)).code).toBe(0);
    // Another image by another name, so that it is pulled anew, by the same agents.
    const again = stack('["sleep", "3601"]').replace('busybox:1', 'other:1');
    await pushBusybox(cluster.registry, 'test/other:1', { environment: [`KIND=${kind}`] });
    const applied = await cluster.apply(again, '--wait', '--timeout', '60s');
    expect(applied.code, applied.stderr).toBe(0);
    const pulls = registry.log.filter((line) => line.includes('/blobs/') && line.includes(' 200 ana'));
    expect(pulls.length).toBeGreaterThan(0);
    expect(await placesOf(password)).toEqual([]);
    expect(await placesOf(changed)).toEqual([]);
    expect((await cluster.frota('rm', 'private', '--wait')).code).toBe(0);
    expect((await cluster.frota('registry', 'logout', registry.host)).code).toBe(0);
    expect(await cluster.json('registry', 'ls')).toEqual([]);
  });
});
