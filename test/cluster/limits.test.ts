/** Limits hold, and bad input is told clearly while the rest runs on. */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { joinCluster } from '../../agent/session/credentials.ts';
import { silentLogger } from '../../proto/base/log.ts';
import { foreignPlatform, writeImage, writeMultiPlatformImage, busyboxEntries } from '../builders/oci-image.ts';
import { command, eventually, must, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox } from './images.ts';

let cluster: TestCluster;
let image = '';
const stateFolder = '/var/lib/frota/clusters/test-limits';

beforeAll(async () => {
  cluster = await startTestCluster('limits', 2);
  image = await pushBusybox(cluster.registry);
});
afterAll(() => stopTestCluster(cluster));

const service = (name: string, body: string): string => `
name: ${name}
services:
  app:
    image: ${image}
${body
  .trim()
  .split('\n')
  .map((line) => `    ${line}`)
  .join('\n')}
`;

const task = async (stack: string, ...args: string[]) => (await cluster.tasks(`${stack}/app`, ...args))[0];

describe('limits', () => {
  it('memory: a task that takes more is killed, and says so', async () => {
    await cluster.apply(
      service(
        'oom',
        'command: ["sh", "-c", "tail /dev/zero"]\nrestart: "no"\ndeploy: {resources: {limits: {memory: 32M}}}',
      ),
    );
    await eventually(async () => {
      expect(await task('oom', '--all')).toMatchObject({ state: 'failed', exitCode: 137 });
    }, 30_000);
    expect((await task('oom', '--all'))?.reason).toMatch(/out of memory/);
  });

  it('cpu: a busy loop gets its quota and no more', async () => {
    // Seconds/100 of CPU that a loop used in 3 s of wall time, read by a shell beside it under the same quota.
    const loop = `(while :; do :; done) & p=$!; sleep 3; awk '{print "used " $14+$15}' /proc/$p/stat; kill $p; sleep 600`;
    await cluster.apply(
      service(
        'quota',
        `command: ["sh", "-c", ${JSON.stringify(loop.replaceAll('$', '$$$$'))}]\nstop_grace_period: 0s\ndeploy: {resources: {limits: {cpus: "0.30"}}}`,
      ),
    );
    const used = await eventually(async () => {
      const [running] = await cluster.tasks('quota/app');
      const written = await must('sh', ['-c', `cat ${stateFolder}/n*/containers/${running?.id ?? ''}/log`]);
      const match = /used (\d+)/.exec(written);
      expect(match, running?.reason ?? written).not.toBeNull();
      return Number(match?.[1]);
    }, 40_000);
    // 3 s × 0.30 cores × 100 ticks/s = 90; scheduling slack on a shared machine.
    expect(used).toBeGreaterThan(40);
    expect(used).toBeLessThan(140);
    expect((await cluster.frota('rm', 'quota', '--wait')).code).toBe(0);
  });

  it('pids: a fork bomb stays inside', async () => {
    await cluster.apply(
      service('bomb', `command: ["sh", "-c", "b() { b | b & }; b; sleep 60"]\nrestart: "no"\nstop_grace_period: 1s\ndeploy: {resources: {limits: {pids: 32}}}`), // prettier-ignore
    );
    // The bomb is at its limit, never above it, and the node lives.
    await eventually(async () => {
      const roots = ['/sys/fs/cgroup/pids', '/sys/fs/cgroup'].map((root) => `${root}/frota/test-limits/*/containers/*`);
      const read = (name: string) =>
        command('sh', ['-c', `cat ${roots.map((root) => `${root}/${name}`).join(' ')} 2>/dev/null`]);
      const [limit, current] = [(await read('pids.max')).stdout.trim(), (await read('pids.current')).stdout.trim()];
      expect(limit.split('\n')).toContain('32');
      const most = Math.max(...current.split('\n').map(Number));
      expect(most).toBeGreaterThan(16);
      expect(most).toBeLessThanOrEqual(32);
    }, 30_000);
    expect((await cluster.nodes()).every((node) => node.state === 'ready')).toBe(true);
    expect((await cluster.frota('rm', 'bomb', '--wait')).code).toBe(0);
  });
});

describe('bad input', () => {
  it('an unknown key is refused with its place and the near one', async () => {
    const result = await cluster.apply(`services:\n  web:\n    image: ${image}\n    restrat: always\n`);
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain('compose.yaml:4:5');
    expect(result.stderr).toContain('did you mean "restart"?');
    expect(result.stdout).toBe('');
  });

  it('a missing image is told at once', async () => {
    const result = await cluster.apply(`name: bad\nservices: {app: {image: "${cluster.registry}/no/such:1"}}\n`);
    expect(result.code).not.toBe(0);
    expect(result.stderr).toMatch(/no\/such/);
    expect((await cluster.services()).some((each) => each.stack === 'bad')).toBe(false);
  });

  it('an unreachable registry is told at once', async () => {
    const gone = cluster.registry.replace(/:\d+$/, ':5999');
    const result = await cluster.apply(`name: bad\nservices: {app: {image: "${gone}/x/y:1"}}\n`);
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain(gone);
  });

  it('an image for another platform is refused, naming both', async () => {
    const folder = path.join(cluster.folder, 'foreign');
    await writeMultiPlatformImage(folder, [
      { layers: [{ entries: await busyboxEntries() }], platform: foreignPlatform() },
    ]);
    await must('skopeo', ['copy', '--all', '--quiet', '--dest-tls-verify=false', `oci:${folder}`, `docker://${cluster.registry}/test/foreign:1`]); // prettier-ignore
    const result = await cluster.apply(
      `name: foreign\nservices: {app: {image: "${cluster.registry}/test/foreign:1"}}\n`,
    );
    if (result.code !== 0) {
      expect(result.stderr).toContain(foreignPlatform().architecture);
      return;
    }
    await eventually(async () => {
      const found = (await cluster.tasks('foreign', '--all')).find((each) => each.state === 'rejected');
      expect(found?.reason).toContain(foreignPlatform().architecture);
    });
    expect((await cluster.frota('rm', 'foreign', '--wait')).code).toBe(0);
  });

  it('a truncated layer is the reason of its task, and nothing of it is left', async () => {
    const folder = path.join(cluster.folder, 'torn');
    const marker = Buffer.alloc(200_000, 7);
    const built = await writeImage(folder, {
      layers: [{ entries: [...(await busyboxEntries()), { type: 'file', path: 'torn', content: marker }] }],
      config: { command: ['sleep', '1000'] },
    });
    await must('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', `oci:${folder}`, `docker://${cluster.registry}/test/torn:1`]); // prettier-ignore
    const [layer] = built.layers;
    const hex = layer?.digest.slice('sha256:'.length) ?? '';
    const blob = (await must('find', [`${stateFolder}/registry`, '-path', `*${hex}/data`])).trim();
    await must('truncate', ['-s', '1000', blob]);
    expect(
      (await cluster.apply(`name: torn\nservices: {app: {image: "${cluster.registry}/test/torn:1"}}\n`)).code,
    ).toBe(0);
    await eventually(async () => {
      const found = (await cluster.tasks('torn', '--all')).find((each) => each.state === 'rejected');
      expect(found?.reason ?? '').toContain(hex.slice(0, 12));
    }, 40_000);
    expect((await cluster.frota('rm', 'torn', '--wait')).code).toBe(0);
    expect((await command('sh', ['-c', `ls -R ${stateFolder}/n*/ | grep ${hex.slice(0, 32)}`])).stdout).toBe(''); // prettier-ignore
  });

  it('what fits nowhere waits with the reason, and the rest runs', async () => {
    const compose = `
name: big
services:
  huge: {image: "${image}", command: ["sleep", "1000"], deploy: {resources: {reservations: {memory: 4096G}}}}
  small: {image: "${image}", command: ["sleep", "1000"], stop_grace_period: 0s}
`;
    expect((await cluster.apply(compose)).code).toBe(0);
    await eventually(async () => {
      expect((await cluster.tasks('big/small'))[0]?.state).toBe('running');
    });
    const [huge] = await cluster.tasks('big/huge');
    expect(huge).toMatchObject({ state: 'pending', node: null });
    expect(huge?.reason).toMatch(/0\/2 nodes fit: 2 lack memory \(need .*, free .*\)/);
    const waited = await cluster.apply(compose, '--wait', '--timeout', '2s');
    expect(waited.code).not.toBe(0);
    expect(waited.stderr + waited.stdout).toContain('lack memory');
    expect((await cluster.frota('rm', 'big', '--wait')).code).toBe(0);
  });

  it('a port that another stack publishes is refused, naming it', async () => {
    const compose = (name: string) => `name: ${name}\nservices: {app: {image: "${image}", command: ["sleep", "1000"], stop_grace_period: 0s, ports: ["9099:80"]}}\n`; // prettier-ignore
    expect((await cluster.apply(compose('first'), '--wait')).code).toBe(0);
    const second = await cluster.apply(compose('second'));
    expect(second.code).not.toBe(0);
    expect(second.stderr).toContain('9099');
    expect(second.stderr).toContain('first');
    expect((await cluster.frota('rm', 'first', '--wait')).code).toBe(0);
  });

  it('a token is good once', async () => {
    const { token, joinAddress } = await cluster.json<{ token: string; joinAddress: string }>('cluster', 'token');
    const join = (nodeName: string, withToken: string) =>
      joinCluster({
        address: joinAddress,
        token: withToken,
        nodeName,
        dataDir: path.join(cluster.folder, nodeName),
        nowMs: Date.now(),
        signal: AbortSignal.timeout(10_000),
        logger: silentLogger,
      });
    const [kind, id, secret = '', digest] = token.split('-');
    const wrong = [kind, id, secret.replace(/^./, (first) => (first === '0' ? '1' : '0')), digest].join('-');
    await expect(join('x1', wrong)).rejects.toThrow(/token.*wrong|secret is wrong/);
    expect((await join('x2', token)).nodeId).toMatch(/^[a-z0-9]{12}$/);
    await expect(join('x3', token)).rejects.toThrow(/used already/);
    // A person's call with a node's certificate is refused, and the new node shows, though nobody has heard of it.
    expect((await cluster.nodes()).map(({ name }) => name)).toContain('x2');
  });

  it('a stranger without a certificate is refused', async () => {
    const [control] =
      (await cluster.json<{ name: string; addresses: string[] }[]>('context', 'ls'))[0]?.addresses ?? [];
    const result = await command('sh', ['-c', `echo | timeout 5 openssl s_client -connect ${control ?? ''} -alpn h2 2>&1 | tail -20; printf 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' | timeout 5 openssl s_client -quiet -alpn h2 -connect ${control ?? ''} 2>&1`]); // prettier-ignore
    expect(result.stdout).toMatch(/certificate required|alert|handshake failure/i);
  });
});
