/** Logs and exec across real nodes: merged, followed through the death of an agent, of ended tasks; commands with and without terminal. */
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, killPid, pidOfPart, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox } from './images.ts';

let cluster: TestCluster;
const program = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'bin', 'frota');

beforeAll(async () => {
  cluster = await startTestCluster('logs');
  const image = await pushBusybox(cluster.registry);
  const count = 'i=0; while :; do i=$$((i+1)); echo line $$i; sleep 0.05; done';
  const applied = await cluster.apply(
    `
name: app
services:
  web:
    image: ${image}
    command: ["sh", "-c", ${JSON.stringify(count)}]
    stop_grace_period: 1s
    environment: {COLOUR: red}
    deploy: {replicas: 3}
  once:
    image: ${image}
    command: ["sh", "-c", "echo first; echo second >&2; exit 3"]
    restart: "no"
`,
  );
  expect(applied.code, applied.stderr).toBe(0);
  await eventually(async () => {
    const tasks = await cluster.tasks('web');
    expect(tasks.map(({ state }) => state)).toEqual(['running', 'running', 'running']);
  }, 60_000);
});
afterAll(() => stopTestCluster(cluster));

interface JsonLine {
  readonly time: string;
  readonly slot: number;
  readonly task: string;
  readonly node: string;
  readonly message: string;
}

/** Each slot counts its lines: each number once, in order. */
function expectNoLineMissing(output: string): void {
  const lines = output
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as JsonLine);
  for (const slot of [1, 2, 3]) {
    const numbers = lines.filter((line) => line.slot === slot).map(({ message }) => Number(message.split(' ')[1]));
    expect(numbers.length).toBeGreaterThan(60);
    expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
  }
}

/** A frota that runs on beside the test. */
function start(args: readonly string[], input?: string) {
  const child = spawn(program, args, {
    env: {
      ...process.env,
      FROTA_CONFIG_DIR: join(cluster.folder, 'config'),
      FROTA_CONTEXT: cluster.name,
      NO_COLOR: '1',
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const seen = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => (seen.out += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => (seen.err += chunk.toString('utf8')));
  child.stdin.end(input ?? '');
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  return { child, seen, exited };
}

describe('logs', () => {
  it('are merged by time, with the name of each task', async () => {
    await sleep(1_000);
    const result = await cluster.frota('logs', 'web', '--tail', '20', '-t');
    expect(result.code, result.stderr).toBe(0);
    const lines = result.stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(60);
    const names = new Set(lines.map((line) => line.split(' | ')[0]));
    expect(names.size).toBe(3);
    for (const name of names) expect(name).toMatch(/^web\.[123]@n[123]$/);
    const times = lines.map((line) => line.split(' | ')[1]?.split(' ')[0] ?? '');
    expect(times).toEqual(times.toSorted());
  });

  it('are those of ended tasks too, and of what is named', async () => {
    const ended = await eventually(async () => {
      const result = await cluster.frota('logs', 'once', '--no-prefix');
      expect(result.stdout.split('\n').sort()).toEqual(['', 'first', 'second']);
      return result;
    });
    expect(ended.code).toBe(0);
    const [task] = await cluster.tasks('web');
    const one = await cluster.frota('logs', task?.id.slice(0, 8) ?? '', '-n', '2', '--no-prefix');
    expect(one.stdout.trimEnd().split('\n')).toHaveLength(2);
    expect((await cluster.frota('logs', 'nothing-here')).code).toBe(4);
    expect((await cluster.frota('logs', 'web', '--since', '1h', '--until', '50m')).stdout).toBe('');
  });

  it('are followed through the death of an agent, no line lost or doubled', async () => {
    const { child, seen, exited } = start(['logs', '-f', 'web', '--tail', '1', '-o', 'json']);
    await eventually(() => Promise.resolve(seen.out.split('\n').length > 30));
    const [task] = await cluster.tasks('web');
    killPid(await pidOfPart(cluster, task?.node ?? ''));
    // Also of the node whose agent was killed, however busy this machine is.
    await eventually(() => {
      const counts = [1, 2, 3].map((slot) => seen.out.split(`"slot":${String(slot)},`).length - 1);
      return Promise.resolve(counts.every((count) => count > 80));
    }, 60_000);
    child.kill('SIGINT');
    expect(await exited, seen.err).toBe(0);
    expectNoLineMissing(seen.out);
  });
});

describe('a controller that is killed', () => {
  it('is bridged by who follows logs and events, no line lost or doubled', async () => {
    const logs = start(['logs', '-f', 'web', '--tail', '1', '-o', 'json']);
    const events = start(['events', '-f', '-n', '0', '-o', 'json']);
    await eventually(() => Promise.resolve(logs.seen.out.split('\n').length > 30));
    killPid(await pidOfPart(cluster, 'c1'));
    await eventually(() => Promise.resolve(logs.seen.err.includes('the controller answers again')), 30_000);
    const before = logs.seen.out.length;
    await eventually(() => Promise.resolve(logs.seen.out.length > before + 2_000), 30_000);
    expect((await cluster.frota('scale', 'app/web=2', '--wait')).code).toBe(0);
    await eventually(() => Promise.resolve(events.seen.out.includes('"kind":"stack.')), 20_000);
    for (const one of [logs, events]) one.child.kill('SIGINT');
    expect(await logs.exited, logs.seen.err).toBe(0);
    expect(await events.exited, events.seen.err).toBe(0);
    expect(logs.seen.err).toContain('note: the controller does not answer; trying again for 60 s');
    expect(events.seen.err).toContain('note: the controller does not answer; trying again for 60 s');
    expectNoLineMissing(logs.seen.out);
    const sequences = events.seen.out
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { sequence: number }).sequence);
    expect(sequences).toEqual(sequences.map((_, index) => (sequences[0] ?? 0) + index));
    expect((await cluster.frota('scale', 'app/web=3', '--wait')).code).toBe(0);
  });
});

describe('exec', () => {
  it('passes exit codes, output and input on', async () => {
    const ok = await cluster.frota('exec', 'web.2', 'sh', '-c', 'echo out; echo err >&2; echo $COLOUR; exit 7');
    expect(ok).toEqual({ code: 7, stdout: 'out\nred\n', stderr: 'err\n' });
    expect((await cluster.frota('exec', 'app/web.1', 'nothing-here')).code).toBe(127);
    expect((await cluster.frota('exec', 'web', '/etc')).code).toBe(126);
    expect((await cluster.frota('exec', 'once', 'id')).code).toBe(125);
    expect((await cluster.frota('exec', 'nobody', 'id')).code).toBe(125);
    const more = await cluster.frota('exec', '-e', 'COLOUR=blue', '-w', '/tmp', 'web', 'sh', '-c', 'echo $COLOUR; pwd');
    expect(more.stdout).toBe('blue\n/tmp\n');
    const input = 'x'.repeat(300_000);
    const { seen, exited } = start(['exec', '-i', 'web', 'sh', '-c', 'cat; exit 4'], input);
    expect(await exited, seen.err).toBe(4);
    expect(seen.out).toBe(input);
  });

  it('ends the command when its caller leaves', async () => {
    const { child, exited } = start(['exec', 'web.1', 'sleep', '4321']);
    const runs = async () =>
      (await cluster.frota('exec', 'web.1', 'sh', '-c', 'ps | grep -c "[s]leep 4321"')).stdout.trim();
    await eventually(async () => (await runs()) === '1');
    child.kill('SIGKILL');
    await exited;
    await eventually(async () => (await runs()) === '0');
  });

  it('has a terminal', async () => {
    const script = [
      'import os, pty, sys, fcntl, termios, struct',
      'def read(fd):',
      '    return os.read(fd, 4096)',
      'pid, fd = pty.fork()',
      'if pid == 0: os.execv(sys.argv[1], sys.argv[1:])',
      'fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))',
      'seen = b""',
      'typed = False',
      'while True:',
      '    try: chunk = read(fd)',
      '    except OSError: break',
      '    if not chunk: break',
      '    seen += chunk',
      '    if not typed and b"# " in seen:',
      '        typed = True',
      '        os.write(fd, b"stty size; tty; exit 6\\r")',
      'print(seen.decode(errors="replace"))',
      'sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))',
    ].join('\n');
    const child = spawn('python3', ['-c', script, program, 'exec', '-it', 'web.1', 'sh'], {
      env: {
        ...process.env,
        FROTA_CONFIG_DIR: join(cluster.folder, 'config'),
        FROTA_CONTEXT: cluster.name,
        TERM: 'xterm',
      },
    });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
    const code = await new Promise((resolve) => child.once('exit', resolve));
    expect(out).toMatch(/33 99/);
    expect(out).toMatch(/\/dev\/pts\/\d/);
    expect(code).toBe(6);
  });
});
