/** How a wait ends on real nodes, for each way not to become what was declared: its status, the reason, the last lines. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { command, eventually, startTestCluster, stopTestCluster } from './cluster.ts';
import type { CommandResult, TestCluster } from './cluster.ts';
import { pushBusybox } from './images.ts';

let cluster: TestCluster;
let image = '';

beforeAll(async () => {
  cluster = await startTestCluster('wait');
  image = await pushBusybox(cluster.registry);
});
afterAll(() => stopTestCluster(cluster));

const shell = (line: string): string => `command: ["sh", "-c", ${JSON.stringify(line)}]`;
const sleeps = 'command: ["sleep", "600"]';
const service = (name: string, ...fields: readonly string[]): string =>
  [`  ${name}:`, ...[`image: ${image}`, 'stop_grace_period: 1s', ...fields].map((field) => `    ${field}`), ''].join(
    '\n',
  );
const stack = (name: string, ...services: readonly string[]): string =>
  `name: ${name}\nservices:\n${services.join('')}`;

interface Waited {
  readonly code: number;
  readonly tookMs: number;
  readonly error: {
    readonly code: string;
    readonly problems: readonly { readonly where: string; readonly message: string }[];
    readonly logs: readonly {
      readonly service: string;
      readonly node: string | null;
      readonly lines: readonly { readonly message: string }[];
    }[];
  };
}

async function applyAndWait(compose: string, timeout: string): Promise<Waited> {
  const beganAtMs = performance.now();
  const { code, stderr } = await cluster.apply(compose, '--wait', '--timeout', timeout, '-o', 'json');
  const last = stderr.trimEnd().split('\n').at(-1) ?? '';
  const { error } = JSON.parse(last) as Pick<Waited, 'error'>;
  return { code, tookMs: performance.now() - beganAtMs, error };
}

const messages = ({ error }: Waited): string =>
  error.problems.map(({ where, message }) => `${where}: ${message}`).join('\n');
const lines = ({ error }: Waited): readonly string[] =>
  error.logs.flatMap((log) => log.lines.map(({ message }) => message));
const forgets = async (name: string): Promise<CommandResult> => cluster.frota('rm', name, '--wait');

describe('what is meant to end', () => {
  it('converges with exit code 0', async () => {
    const done = await cluster.apply(stack('done', service('job', 'restart: "no"', shell('echo done'))), '--wait');
    expect(done).toMatchObject({ code: 0 });
    expect(done.stderr).toContain('done/job 1/1 completed');
  });

  it.each([
    ['no', 'restart: "no"', 'echo first; echo bad >&2; exit 7', ['first', 'bad']],
    ['on-failure', 'restart: "on-failure:1"', 'echo bad; exit 7', ['bad']],
  ])('ends the wait at once with another (restart %s)', async (name, restart, line, expected) => {
    const waited = await applyAndWait(stack(`ends-${name}`, service('job', restart, shell(line))), '60s');
    expect(waited).toMatchObject({ code: 3, error: { code: 'stuck' } });
    expect(waited.tookMs).toBeLessThan(30_000);
    expect(messages(waited)).toMatch(/job\.1 on n\d: failed: exit(ed with)? code 7/u);
    expect(lines(waited)).toEqual(expected);
    await forgets(`ends-${name}`);
  });
});

describe('what is meant to run', () => {
  it('exits at once, again and again', async () => {
    const waited = await applyAndWait(stack('loop', service('web', shell('echo no database; exit 3'))), '8s');
    expect(waited).toMatchObject({ code: 3, error: { code: 'deadline' } });
    expect(messages(waited)).toMatch(/^loop\/web\.1: .*exited with code 3/u);
    expect(lines(waited)).toEqual(['no database']);
    await forgets('loop');
  });

  it('has a command that does not exist', async () => {
    const waited = await applyAndWait(stack('typo', service('web', 'command: ["serve-nothing"]')), '60s');
    expect(waited).toMatchObject({ code: 3, error: { code: 'stuck', logs: [] } });
    expect(messages(waited)).toContain('serve-nothing');
    await forgets('typo');
  });

  it('has an image that does not exist: nothing is accepted', async () => {
    const compose = stack('gone', service('web', sleeps)).replace(image, `${image}-gone`);
    const refused = await cluster.apply(compose, '--wait');
    expect(refused.code).toBe(4);
    expect(refused.stderr).toContain(`${image}-gone`);
  });

  it('never becomes healthy, and neither does what depends on it start', async () => {
    const check = 'healthcheck: {test: "echo connection refused; exit 1", interval: 500ms, retries: 3}';
    const depends = 'depends_on: {db: {condition: service_healthy}}';
    const compose = stack(
      'sick',
      service('db', check, shell('echo starting up; sleep 600')),
      service('web', depends, sleeps),
    );
    const waited = await applyAndWait(compose, '8s');
    expect(waited).toMatchObject({ code: 3, error: { code: 'deadline' } });
    expect(messages(waited)).toMatch(/sick\/db\.1: .*connection refused/u);
    expect(messages(waited)).toContain('sick/web.1: pending: waits for db to be healthy (0/1)');
    expect(lines(waited)).toEqual(['starting up']);
    await forgets('sick');
  });

  it('does not fit', async () => {
    const huge = 'deploy: {resources: {reservations: {memory: 2000G}}}';
    const waited = await applyAndWait(stack('huge', service('web', sleeps, huge)), '2s');
    expect(waited).toMatchObject({ code: 3, error: { code: 'deadline', logs: [] } });
    expect(messages(waited)).toMatch(/^huge\/web\.1: pending: 0\/3 nodes fit: 3 lack memory/u);
    await forgets('huge');
  });
});

describe('an update that fails', () => {
  it.each([
    ['pause', 'update paused', 3],
    ['rollback', 'update rolled back', 3],
  ])('ends the wait at once (%s)', async (action, text, code) => {
    const update = `deploy: {replicas: 2, update_config: {failure_action: ${action}, monitor: 2s}}`;
    const name = `up-${action}`;
    const good = await cluster.apply(stack(name, service('web', update, sleeps)), '--wait');
    expect(good.code, good.stderr).toBe(0);
    const waited = await applyAndWait(stack(name, service('web', update, shell('echo no licence; exit 9'))), '60s');
    expect(waited).toMatchObject({ code, error: { code: 'stuck' } });
    expect(messages(waited)).toContain(`${name}/web: ${text}`);
    expect(lines(waited)).toEqual(['no licence']);
    await forgets(name);
  });
});

describe('a node', () => {
  it('that is drained says what is left and why, with what its replacement wrote', async () => {
    // It can only start while a file is there that is then taken away.
    const line = 'test -e /state/first || { echo only once; sleep 1; exit 4; }; sleep 600';
    const check = 'healthcheck: {test: "test -e /state/first", interval: 60s}';
    const compose = stack('stay', service('web', shell(line), check, 'volumes: ["/srv/frota-test-wait:/state"]'));
    await command('mkdir', ['-p', '/srv/frota-test-wait']);
    await command('touch', ['/srv/frota-test-wait/first']);
    try {
      expect((await cluster.apply(compose, '--wait')).code).toBe(0);
      await command('rm', ['/srv/frota-test-wait/first']);
      const node = (await cluster.tasks('stay/web'))[0]?.node ?? '';
      const drained = await cluster.frota('node', 'drain', node, '--wait', '--timeout', '6s');
      expect(drained.code).toBe(3);
      expect(drained.stderr).toMatch(/stay\/web\.1: running \(healthy\) on n\d: its replacement .*exited with code 4/u);
      expect(drained.stderr).toContain('  | only once');
      await cluster.frota('node', 'activate', node);
      await forgets('stay');
    } finally {
      await command('rm', ['-rf', '/srv/frota-test-wait']);
    }
  });

  it('that is lost with a volume is named by what waits for it', async () => {
    const compose = (run: string): string =>
      `${stack('kept', service('db', shell(run), 'volumes: ["rows:/rows"]'))}volumes: {rows: {}}\n`;
    expect((await cluster.apply(compose('sleep 600'), '--wait')).code).toBe(0);
    const node = (await cluster.tasks('kept/db'))[0]?.node ?? '';
    const namespace = `frota-${cluster.name}-${node}`;
    await command('ip', ['netns', 'exec', namespace, 'ip', 'link', 'set', 'eth0', 'down']);
    try {
      await eventually(async () => (await cluster.nodes()).some(({ state }) => state === 'down'));
      const waited = await applyAndWait(compose('sleep 601'), '3s');
      expect(waited).toMatchObject({ code: 3, error: { code: 'deadline' } });
      expect(messages(waited)).toContain(`volume kept_rows of slot 1 is on node ${node}, which is down`);
    } finally {
      await command('ip', ['netns', 'exec', namespace, 'ip', 'link', 'set', 'eth0', 'up']);
    }
  });
});
