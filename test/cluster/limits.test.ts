/** Limits hold, and bad input is told clearly while the rest runs on. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { foreignPlatform, writeImage, writeMultiPlatformImage, busyboxEntries } from '../builders/oci-image.ts';
import { command, eventually, must, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox } from './images.ts';

let cluster: TestCluster;
let image = '';

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
    // busybox `time` prints user seconds of a loop that is given 3 s of wall time.
    const loop = "cd /tmp; (while :; do :; done) & p=$!; sleep 3; awk '{print $14+$15}' /proc/$p/stat; kill $p";
    await cluster.apply(
      service('quota', `command: ["sh", "-c", ${JSON.stringify(loop.replaceAll('$', '$$$$'))}]\nrestart: "no"\ndeploy: {resources: {limits: {cpus: "0.30"}}}`), // prettier-ignore
    );
    const done = await eventually(async () => {
      const found = await task('quota', '--all');
      expect(found?.state, found?.reason ?? '').toBe('complete');
      return found;
    }, 40_000);
    const log = await containerCpuTicks(done?.id ?? '');
    // 3 s × 0.30 cores × 100 ticks/s = 90; scheduling slack on a shared machine.
    expect(log).toBeGreaterThan(40);
    expect(log).toBeLessThan(140);
  });

  it('pids: a fork bomb stays inside', async () => {
    await cluster.apply(
      service('bomb', `command: ["sh", "-c", "b() { b | b & }; b; sleep 60"]\nrestart: "no"\nstop_grace_period: 1s\ndeploy: {resources: {limits: {pids: 32}}}`), // prettier-ignore
    );
    await eventually(async () => {
      const found = await task('bomb', '--all');
      expect(['running', 'failed', 'complete']).toContain(found?.state);
    }, 30_000);
    const { stdout } = await command('sh', ['-c', 'cat /sys/fs/cgroup/pids/frota/test-limits/*/containers/*/pids.max /sys/fs/cgroup/frota/test-limits/*/containers/*/pids.max 2>/dev/null']); // prettier-ignore
    expect((await cluster.nodes()).every((node) => node.state === 'ready')).toBe(true);
    if (stdout !== '') expect(stdout).toContain('32');
    expect((await cluster.frota('rm', 'bomb', '--wait')).code).toBe(0);
  });
});

/** The last number the container wrote; read from where the node keeps it until `frota logs` exists. */
async function containerCpuTicks(id: string): Promise<number> {
  const reason = (await cluster.tasks('quota/app', '--all')).find((each) => each.id === id);
  const found = await must('sh', ['-c', `cat /var/lib/frota/clusters/test-limits/n*/logs/${id}.log 2>/dev/null || find /var/lib/frota/clusters/test-limits -path '*${id}*' -name '*log*' -type f -exec cat {} +`]); // prettier-ignore
  const last = found.trim().split('\n').at(-1) ?? '';
  expect(last, JSON.stringify(reason)).toMatch(/\d+$/);
  return Number(/(\d+)$/.exec(last)?.[1]);
}

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
    const folder = join(cluster.folder, 'foreign');
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
    const folder = join(cluster.folder, 'torn');
    const marker = Buffer.alloc(200_000, 7);
    const built = await writeImage(folder, {
      layers: [{ entries: [...(await busyboxEntries()), { type: 'file', path: 'torn', content: marker }] }],
      config: { command: ['sleep', '1000'] },
    });
    await must('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', `oci:${folder}`, `docker://${cluster.registry}/test/torn:1`]); // prettier-ignore
    const [layer] = built.layers;
    const hex = layer?.digest.slice('sha256:'.length) ?? '';
    const blob = (await must('find', ['/var/lib/frota/clusters/test-limits/registry', '-path', `*${hex}/data`])).trim();
    await must('truncate', ['-s', '1000', blob]);
    expect(
      (await cluster.apply(`name: torn\nservices: {app: {image: "${cluster.registry}/test/torn:1"}}\n`)).code,
    ).toBe(0);
    await eventually(async () => {
      const found = (await cluster.tasks('torn', '--all')).find((each) => each.state === 'rejected');
      expect(found?.reason ?? '').toContain(hex.slice(0, 12));
    }, 40_000);
    expect((await cluster.frota('rm', 'torn', '--wait')).code).toBe(0);
    expect((await command('sh', ['-c', `ls -R /var/lib/frota/clusters/test-limits/n*/ | grep ${hex.slice(0, 32)}`])).stdout).toBe(''); // prettier-ignore
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
    expect(token).not.toBe('');
    const agent = (name: string, withToken: string) =>
      command('timeout', ['5', 'nsenter', '--net=/run/netns/frota-test-limits-n1', process.execPath, 'bin/frota', 'agent', '--join', joinAddress, '--token', withToken, '--name', name, '--data', join(cluster.folder, name), '--run', join(cluster.folder, `${name}-run`), '--cgroup-parent', `/frota/test-limits/${name}`, '--liveness-port', '0', '--join-only']); // prettier-ignore
    const wrong = await agent('x1', `${token.slice(0, -2)}zz`);
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr + wrong.stdout).toMatch(/token/);
    expect((await agent('x2', token)).code).toBe(0);
    const again = await agent('x3', token);
    expect(again.code).not.toBe(0);
    expect(again.stderr + again.stdout).toMatch(/used/);
  });

  it('a stranger without a certificate is refused', async () => {
    await writeFile(join(cluster.folder, 'note'), '');
    const [control] =
      (await cluster.json<{ name: string; addresses: string[] }[]>('context', 'ls'))[0]?.addresses ?? [];
    const result = await command('sh', ['-c', `echo | timeout 5 openssl s_client -connect ${control ?? ''} -alpn h2 2>&1 | tail -20; printf 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' | timeout 5 openssl s_client -quiet -alpn h2 -connect ${control ?? ''} 2>&1`]); // prettier-ignore
    expect(result.stdout).toMatch(/certificate required|alert|handshake failure/i);
  });
});
