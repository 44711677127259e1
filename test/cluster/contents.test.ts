/** Configs, secrets and logins of registries on a real cluster: what containers find, what is on no disk, what is gone when nobody needs it. */
import { readdir, rm, writeFile } from 'node:fs/promises';
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
const nodes = ['n1', 'n2'] as const;
/** Not to be found anywhere but in memory. They stand in this file only, which no search below looks at. */
const firstSecret = 'Xanthippe-sails-at-dawn-7c1f';
const secondSecret = 'Xanthippe-stays-ashore-93ab';
const keySecret = 'Callisto-holds-the-helm-55e0';
const waited = ['--wait', '--timeout', '60s'] as const;

beforeAll(async () => {
  cluster = await startTestCluster('contents', 2);
  image = await pushBusybox(cluster.registry);
  cluster.environment['MAIL_KEY'] = keySecret;
  await writeFile(join(cluster.folder, 'rules.txt'), 'no spam\n');
});
afterAll(() => stopTestCluster(cluster));

const compose = (greeting: string): string => `
name: mail
services:
  app:
    image: ${image}
    command: ["sleep", "3600"]
    stop_grace_period: 0s
    configs: [{source: site, target: /site.conf}, {source: rules, target: /etc/rules, uid: "7", gid: "8", mode: 0400}]
    secrets: [{source: token, uid: "1000", gid: "1001", mode: 0440}, key]
  beside: {image: "${image}", command: ["sleep", "3600"], stop_grace_period: 0s}
configs: {site: {content: "greeting=${greeting}\\n"}, rules: {file: rules.txt}}
secrets: {token: {file: token.txt}, key: {environment: MAIL_KEY}}
`;

async function applied(text: string): Promise<string> {
  const result = await cluster.apply(text, ...waited);
  expect(result.code, result.stderr).toBe(0);
  return result.stdout;
}
/** What a shell in the task says, line by line. */
async function inside(slot: string, script: string): Promise<readonly string[]> {
  const result = await cluster.frota('exec', slot, 'sh', '-c', script);
  expect(result.code, result.stderr).toBe(0);
  return result.stdout.trim().split('\n');
}
const sourceOf = (secret: string) => writeFile(join(cluster.folder, 'token.txt'), `${secret}\n`);

/** Files of the cluster that hold the text as it is or as another program would write it: store, journals, images, containers, logs. */
async function placesOf(text: string, folder = stateFolder): Promise<readonly string[]> {
  const bytes = Buffer.from(text);
  // Base64 of whole groups of three bytes, whatever comes behind them.
  const spellings = [text, bytes.toString('hex'), bytes.subarray(0, bytes.length - (bytes.length % 3)).toString('base64')]; // prettier-ignore
  const found = await command('grep', ['-rlaF', ...spellings.flatMap((spelling) => ['-e', spelling]), folder]);
  // 1: nothing; 2: a file went while it was read.
  return found.stdout.split('\n').filter(Boolean);
}
/** The memory of a node that contents lie in, as a path prefix. */
const memoryOf = (node: string): string => join(runFolder, node, 'contents');

/** As a power cut of the process alone: its supervisor starts it again. */
async function restartParts(...parts: readonly string[]): Promise<void> {
  const before = await Promise.all(parts.map((part) => pidOfPart(cluster, part)));
  for (const pid of before) killPid(pid);
  await eventually(async () => {
    for (const [at, part] of parts.entries()) expect(await pidOfPart(cluster, part)).not.toBe(before[at]);
    expect((await cluster.nodes()).map(({ state }) => state)).toEqual(nodes.map(() => 'ready'));
  }, 30_000);
}

describe('configs and secrets', () => {
  it('from files, text and environment are files of the container in memory, with owner and mode, that it cannot change', async () => {
    await sourceOf(firstSecret);
    await applied(compose('ola'));
    const paths = '/site.conf /etc/rules /run/secrets/token /run/secrets/key';
    const lines = await inside(
      'mail/app.1',
      `cat ${paths}; echo; stat -c '%a %u:%g' ${paths}; stat -f -c %T ${paths}; echo no > /run/secrets/token || echo refused`,
    );
    expect(lines).toEqual([
      ...['greeting=ola', 'no spam', firstSecret, keySecret],
      ...['444 0:0', '400 7:8', '440 1000:1001', '444 0:0'],
      ...['tmpfs', 'tmpfs', 'tmpfs', 'tmpfs'],
      'refused',
    ]);
  });

  it('are on no disk, in no log and no answer, and in the memory of no other node', async () => {
    // The search finds what is there: a config is no secret.
    expect(await placesOf('greeting=ola')).not.toEqual([]);
    const [task] = await cluster.tasks('mail/app');
    for (const secret of [firstSecret, keySecret]) {
      expect(await placesOf(secret)).toEqual([]);
      for (const args of [
        ['ps', '--all'],
        ['ls'],
        ['inspect', 'mail', 'mail/app', task?.id ?? '', 'n1', 'n2'],
        ['events'],
        ['rollout', 'history', 'mail', '--revision', '1'],
      ]) {
        // prettier-ignore
        const { code, stdout, stderr } = await cluster.frota(...args, '-o', 'json');
        expect([code, stdout.length > 2], args.join(' ')).toEqual([0, true]);
        expect(stdout + stderr).not.toContain(secret);
      }
      const inMemory = await placesOf(secret, runFolder);
      expect(inMemory).not.toEqual([]);
      expect(inMemory.filter((path) => !path.startsWith(memoryOf(task?.node ?? '')))).toEqual([]);
    }
    expect(await must('findmnt', ['-no', 'FSTYPE', memoryOf(task?.node ?? '')])).toBe('tmpfs\n');
  });

  it('stay with their container when the agent dies', async () => {
    const [before] = await cluster.tasks('mail/app');
    await restartParts(before?.node ?? '');
    expect(await applied(compose('ola'))).toContain('nothing to change');
    expect((await cluster.tasks('mail/app'))[0]?.id).toBe(before?.id);
    expect(await inside('mail/app.1', 'cat /run/secrets/token')).toEqual([firstSecret]);
  });

  it('replace the task when their content changes, and no other; what was before is gone from the node', async () => {
    const identity = async (service: string) =>
      (await cluster.tasks(service)).map(({ id, startedAt }) => ({ id, startedAt }));
    const [before, beside] = [await identity('mail/app'), await identity('mail/beside')];
    await sourceOf(secondSecret);
    await applied(compose('ola'));
    expect(await identity('mail/app')).not.toEqual(before);
    expect(await identity('mail/beside')).toEqual(beside);
    expect(await inside('mail/app.1', 'cat /run/secrets/token')).toEqual([secondSecret]);
    expect(await placesOf(secondSecret)).toEqual([]);
    await eventually(async () => {
      expect(await placesOf(firstSecret, runFolder)).toEqual([]);
    });
  });

  it('have a controller not start with another key than theirs, nor without one, and say what to do', async () => {
    const keyPath = join(cluster.folder, 'other.key');
    await writeFile(keyPath, `${'0'.repeat(64)}\n`, { mode: 0o600 });
    const copy = join(cluster.folder, 'controller');
    await must('cp', ['-a', join(stateFolder, 'controller'), copy]);
    const listen = ['--listen', '127.0.0.1:17400', '--join-listen', '127.0.0.1:17401', '--liveness-listen', '127.0.0.1:17402']; // prettier-ignore
    const started = (...args: string[]) => command(frotaProgram, ['controller', '--data', copy, ...listen, ...args]);
    const wrong = await started('--key-file', keyPath);
    expect([wrong.code, wrong.stdout + wrong.stderr]).toEqual([1, expect.stringContaining(`${keyPath} is not the key that the store's secrets`)]); // prettier-ignore
    await rm(join(copy, 'secrets.key'));
    const missing = await started();
    expect([missing.code, missing.stdout + missing.stderr]).toEqual([1, expect.stringContaining(`put back ${join(copy, 'secrets.key')}`)]); // prettier-ignore
  });

  it('come from a controller that has just started, and leave every node with their stack', async () => {
    killPid(await pidOfPart(cluster, 'c1'));
    await eventually(() => applied(compose('adeus')), 30_000);
    expect(await inside('mail/app.1', 'cat /site.conf /run/secrets/token')).toEqual(['greeting=adeus', secondSecret]);
    expect((await cluster.frota('rm', 'mail', '--wait')).code).toBe(0);
    await eventually(async () => {
      for (const node of nodes) expect(await readdir(join(runFolder, node))).not.toContain('contents');
    });
    expect([...(await placesOf(secondSecret)), ...(await placesOf(secondSecret, runFolder))]).toEqual([]);
  });
});

describe.each(['basic', 'bearer'] as const)('a private registry that wants %s', (kind) => {
  const [password, changed] = [`Ulysses-${kind}-first-41`, `Ulysses-${kind}-second-42`];
  let registry: PrivateRegistry;
  beforeAll(async () => {
    const [address = ''] = cluster.registry.split(':');
    registry = await startPrivateRegistry({ kind, address, upstream: cluster.registry, username: 'ana', password });
    // Each with a config of its own, so that something of it is pulled anew.
    for (const name of ['one', 'two', 'three']) await pushBusybox(cluster.registry, `test/${kind}-${name}:1`, { labels: { name: `${kind}-${name}` } }); // prettier-ignore
  });
  afterAll(() => registry.stop());

  const login = (secret: string) =>
    command(
      'sh',
      ['-c', 'printf "%s\\n" "$SECRET" | "$0" "$@"', frotaProgram, 'registry', 'login', registry.host, '-u', 'ana', '--password-stdin'], // prettier-ignore
      { ...cluster.environment, SECRET: secret },
    );
  const logins = () => cluster.json('registry', 'ls');
  const stack = (name: string): string => `
name: private
services:
  app: {image: "${registry.host}/test/${kind}-${name}:1", command: ["sleep", "3600"], stop_grace_period: 0s}
`;
  /** Pulls that were served to the user since the last call; by nodes, for only they ask for blobs. */
  let seen = 0;
  const blobsServed = (): number => {
    const served = registry.log.slice(seen).filter((line) => line.includes('/blobs/') && line.endsWith(' 200 ana'));
    seen = registry.log.length;
    return served.length;
  };
  const refused = async (name: string): Promise<void> => {
    const { code, stderr } = await cluster.apply(stack(name));
    expect([code, stderr]).toEqual([expect.any(Number), expect.stringContaining(`frota registry login ${registry.host}`)]); // prettier-ignore
    expect(code).not.toBe(0);
  };

  it('refuses the cluster before it has logged in, with the way to do it; a wrong password is not kept', async () => {
    await refused('one');
    const wrong = await login('not the password');
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toMatch(/"ana"/);
    expect(wrong.stdout + wrong.stderr).not.toContain('not the password');
    expect(await logins()).toEqual([]);
    await refused('one');
  });

  it('serves apply and nodes after it, also when controller and agents have started again and the password is another', async () => {
    const right = await login(password);
    expect(right.code, right.stderr).toBe(0);
    expect(await logins()).toEqual([{ registry: registry.host, username: 'ana' }]);
    await applied(stack('one'));
    expect(blobsServed()).toBeGreaterThan(0);
    // Agents forget what they were told; with the controller once is enough.
    await restartParts(...(kind === 'basic' ? ['c1'] : []), ...nodes);
    await applied(stack('two'));
    expect(blobsServed()).toBeGreaterThan(0);
    registry.setPassword(changed);
    expect((await login(changed)).code).toBe(0);
    await applied(stack('three'));
    expect(blobsServed()).toBeGreaterThan(0);
  });

  it('is asked as nobody after a logout, and its passwords were never written anywhere', async () => {
    for (const secret of [password, changed]) {
      for (const text of [secret, `ana:${secret}`]) {
        expect([...(await placesOf(text)), ...(await placesOf(text, runFolder))]).toEqual([]);
      }
    }
    for (const args of [['registry', 'ls'], ['events'], ['inspect', 'private', ...nodes]]) {
      const { code, stdout } = await cluster.frota(...args, '-o', 'json');
      expect(code).toBe(0);
      expect(stdout).not.toMatch(/Ulysses/);
    }
    expect((await cluster.frota('registry', 'logout', registry.host)).code).toBe(0);
    expect(await logins()).toEqual([]);
    await refused('one');
    expect((await cluster.tasks('private/app')).map(({ state }) => state)).toEqual(['running']);
    expect((await cluster.frota('rm', 'private', '--wait')).code).toBe(0);
  });
});
