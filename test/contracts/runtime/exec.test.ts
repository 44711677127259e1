import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FrotaError } from '../../../proto/base/errors.ts';
import { cgroupPids, makeCgroup, moveToCgroup } from '../../../agent/host/cgroups.ts';
import { readCommandLine } from '../../../agent/host/processes.ts';
import type { OciRuntime } from '../../../agent/runtime/oci/oci-runtime.ts';
import type { Exec, ExecRequest } from '../../../agent/runtime/runtime.ts';
import { exitOf, listOf, makeFixture, type Fixture } from './fixture.ts';

const never = new AbortController().signal;
const id = 'boat';

let fixture: Fixture;
let runtime: OciRuntime;

beforeAll(async () => {
  fixture = await makeFixture('exec');
});
beforeEach(async () => {
  runtime = await fixture.open();
  const spec = fixture.spec(id, ['sleep', '600'], { environment: ['COLOUR=red', 'PORT=80'], workingDir: '/tmp' });
  await runtime.create(spec, never);
  await runtime.start(id);
});
afterEach(async () => {
  for (const each of await runtime.list()) await runtime.remove(each.id);
  await runtime.close();
  expect(await fixture.traces()).toEqual({ mounts: [], pids: [], cgroups: [], folders: [] });
  expect(execFolders()).toEqual([]);
});
afterAll(async () => {
  await fixture.close();
});

const execFolders = (): string[] => listOf(join(fixture.options.runDir, 'execs'));

const textOf = async (stream: Readable): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
};

async function toEnd(exec: Exec, input?: string): Promise<{ out: string; err: string; exitCode: number }> {
  exec.stdin.end(input ?? '');
  const [out, err, { exitCode }] = await Promise.all([textOf(exec.stdout), textOf(exec.stderr), exec.done]);
  return { out, err, exitCode };
}

const shell = async (
  script: string,
  more: Partial<ExecRequest> = {},
  input?: string,
): Promise<{ out: string; err: string; exitCode: number }> =>
  toEnd(await runtime.exec(id, { args: ['sh', '-c', script], ...more }, never), input);

/** Command lines of what runs in the container beside its first process. */
async function others(): Promise<readonly string[]> {
  const pids = await cgroupPids(fixture.layout, join(fixture.options.cgroupParent, 'containers', id));
  const lines = await Promise.all(pids.map(async (pid) => (await readCommandLine(pid)).join(' ')));
  return lines.filter((line) => line !== '' && line !== 'sleep 600').sort();
}

const failure = async (work: Promise<unknown>): Promise<FrotaError> => {
  const thrown: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof FrotaError)) throw new Error(`expected a FrotaError, got ${String(thrown)}`);
  return thrown;
};

describe('a command in a container', () => {
  it('has streams of its own and passes its exit code on', async () => {
    const result = await shell('echo out; echo err >&2; cat; exit 7', {}, 'typed');
    expect(result).toEqual({ out: 'out\ntyped', err: 'err\n', exitCode: 7 });
    expect((await shell('exit 255')).exitCode).toBe(255);
    expect((await shell('kill -9 $$')).exitCode).toBe(137);
    expect(execFolders()).toEqual([]);
  });

  it('has what the container has: environment, folder, user, capabilities, limits, cgroup, namespaces', async () => {
    const script = 'id; pwd; env; grep -E "^(CapEff|Seccomp):" /proc/self/status; cat /proc/self/cgroup; hostname';
    const { out } = await shell(script);
    for (const line of ['COLOUR=red', 'PORT=80', 'HOME=/root', `HOSTNAME=${id}`, '/tmp', id, 'Seccomp:\t2']) {
      expect(out.split('\n')).toContain(line);
    }
    expect(out).toContain('CapEff:\t00000000a80425fb\n');
    const cgroup = join(fixture.options.cgroupParent, 'containers', id);
    const v1 = out.split('\n').filter((line) => /^\d+:(pids|memory|cpu,cpuacct|cpuset):/.test(line));
    for (const line of v1) expect(line).toContain(cgroup);
    if (fixture.layout.kind !== 'v2') expect(v1.length).toBeGreaterThan(2);
    const bomb = await shell('i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i+1)); done');
    expect(bomb.err).toMatch(/can't fork/);
    expect(await others()).toEqual([]);
  });

  it('takes what the request says instead', async () => {
    const { out } = await shell('id; pwd; env', {
      environment: ['COLOUR=blue', 'SIZE=big one'],
      user: 'ana',
      workingDir: 'sub/../..',
    });
    expect(out).toContain('uid=1000(ana) gid=1001(ana) groups=1001(ana),1002(boats),1003(sails)\n/\n');
    for (const line of ['COLOUR=blue', 'SIZE=big one', 'PORT=80', 'HOME=/home/ana']) {
      expect(out.split('\n')).toContain(line);
    }
    expect((await shell('id', { user: '7:8' })).out).toBe('uid=7 gid=8 groups=8\n');
  });

  it('holds back what writes faster than it is read, and loses nothing', async () => {
    const exec = await runtime.exec(id, { args: ['sh', '-c', 'busybox seq 1 300000; busybox touch /tmp/done'] }, never);
    exec.stdin.end();
    const err = textOf(exec.stderr);
    await sleep(1_000);
    expect((await shell('ls /tmp/done')).exitCode).not.toBe(0);
    const out = await textOf(exec.stdout);
    expect(out.split('\n')).toHaveLength(300_001);
    expect(out.endsWith('\n299999\n300000\n')).toBe(true);
    expect(await err).toBe('');
    expect((await exec.done).exitCode).toBe(0);
  });

  it('says like a shell what can not be run', async () => {
    const run = async (args: readonly string[]) => toEnd(await runtime.exec(id, { args }, never));
    expect(await run(['foo'])).toEqual({ out: '', err: 'exec "foo": not found in the container\n', exitCode: 127 });
    expect(await run(['/bin/foo'])).toMatchObject({ exitCode: 127 });
    expect(await run(['/etc/passwd'])).toEqual({
      out: '',
      err: 'exec "/etc/passwd": no executable file\n',
      exitCode: 126,
    });
    const tty = await toEnd(await runtime.exec(id, { args: ['foo'], tty: true }, never));
    expect(tty).toEqual({ out: 'exec "foo": not found in the container\n', err: '', exitCode: 127 });
  });

  it('refuses what the container can not give', async () => {
    const refused = (more: Partial<ExecRequest>) => failure(runtime.exec(id, { args: ['id'], ...more }, never));
    expect(await refused({ args: [] })).toMatchObject({ code: 'invalid' });
    expect(await refused({ user: 'nobody-here' })).toMatchObject({ code: 'invalid' });
    const folder = await refused({ workingDir: '/nope' });
    expect(folder).toMatchObject({ code: 'invalid' });
    expect(folder.message).toContain('"/nope"');
    expect(execFolders()).toEqual([]);
  });

  it('is refused where the container does not run, with its state', async () => {
    const request = { args: ['id'] };
    expect(await failure(runtime.exec('nobody', request, never))).toMatchObject({ code: 'not-found' });
    await runtime.create(fixture.spec('new', ['sleep', '60']), never);
    const created = await failure(runtime.exec('new', request, never));
    expect([created.code, created.message]).toEqual(['conflict', 'container new has not been started yet']);
    await runtime.start('new');
    const end = exitOf(runtime, 'new');
    await runtime.kill('new', 'SIGKILL');
    const early = await runtime.exec('new', request, never).then(
      async (exec) => (await toEnd(exec)).exitCode,
      (error: unknown) => (error as FrotaError).code,
    );
    expect(['conflict', 137, 0]).toContain(early);
    await end;
    const ended = await failure(runtime.exec('new', request, never));
    expect(ended.code).toBe('conflict');
    expect(ended.message).toContain('has ended (exit code 137)');
  });
});

describe('the end of a command', () => {
  it('takes its session with it, and leaves what made one of its own', async () => {
    const { exitCode, out } = await shell('sleep 301 & (busybox setsid sleep 302 >/dev/null 2>&1 &) ; echo ok; exit 3');
    expect([exitCode, out]).toEqual([3, 'ok\n']);
    expect(await others()).toEqual(['sleep 302']);
  });

  it('comes by kill for all that came of it', async () => {
    const script = 'sleep 301 & busybox setsid sleep 302 & (trap "" HUP TERM; sleep 303) & echo up; sleep 304';
    const exec = await runtime.exec(id, { args: ['sh', '-c', script] }, never);
    expect(String(await once(exec.stdout, 'data'))).toBe('up\n');
    await expect.poll(others).toEqual(['sleep 301', 'sleep 302', 'sleep 303', 'sleep 304']);
    await exec.kill();
    expect(await others()).toEqual([]);
    expect(await exec.done).toEqual({ exitCode: 137 });
    expect(execFolders()).toEqual([]);
    await exec.kill();
  });

  it('comes by the signal, at whatever moment', async () => {
    for (const delayMs of [0, 5, 15, 25, 35, 50, 80]) {
      const abort = new AbortController();
      const work = runtime.exec(id, { args: ['sleep', '305'] }, abort.signal).then(
        (exec) => exec.done.then(({ exitCode }) => exitCode),
        (error: unknown) => (error as FrotaError).code,
      );
      await sleep(delayMs);
      abort.abort();
      expect([137, 'cancelled']).toContain(await work);
      expect(await others()).toEqual([]);
      expect(execFolders()).toEqual([]);
    }
  });

  it('comes with the end of the container, its removal and the close of the runtime', async () => {
    await runtime.create(fixture.spec('gone', ['sleep', '60']), never);
    await runtime.start('gone');
    const first = await runtime.exec('gone', { args: ['sleep', '306'] }, never);
    await runtime.kill('gone', 'SIGKILL');
    expect((await first.done).exitCode).toBe(137);
    const second = await runtime.exec(id, { args: ['sleep', '306'] }, never);
    await runtime.close();
    expect((await second.done).exitCode).toBe(137);
    runtime = await fixture.open();
    await runtime.list();
    const third = await runtime.exec(id, { args: ['sleep', '306'] }, never);
    await Promise.all([runtime.remove(id), third.done]);
    expect(await failure(runtime.exec(id, { args: ['id'] }, never))).toMatchObject({ code: 'not-found' });
  });
});

describe('a terminal', () => {
  it('has a size, changes it, edits lines and passes the exit code on', async () => {
    const request: ExecRequest = { args: ['sh'], tty: true, size: { columns: 101, rows: 31 }, environment: ['PS1=> '] };
    const exec = await runtime.exec(id, request, never);
    let seen = '';
    exec.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString('utf8')));
    const waitFor = (words: RegExp) => expect.poll(() => seen, { timeout: 5_000 }).toMatch(words);
    exec.stdin.write('echo $TERM; busybox stty size; busybox tty\r');
    await waitFor(/xterm\r+\n31 101\r+\n\/dev\/pts\/\d+\r+\n/);
    exec.resize(77, 22);
    await sleep(200);
    exec.stdin.write('busybox stty size\r');
    await waitFor(/22 77\r+\n/);
    // Ctrl-C reaches what runs in the foreground, not the shell.
    exec.stdin.write('sleep 307\r');
    await expect.poll(others, { timeout: 5_000 }).toContain('sleep 307');
    exec.stdin.write('\x03');
    exec.stdin.write('exit 9\r');
    exec.stdin.end();
    expect(await exec.done).toEqual({ exitCode: 9 });
    exec.resize(1, 1);
    expect(await others()).toEqual([]);
  });

  it('loses nothing for a slow reader', async () => {
    const exec = await runtime.exec(id, { args: ['busybox', 'seq', '1', '30000'], tty: true }, never);
    await sleep(1_000);
    const out = await textOf(exec.stdout);
    expect(out.replaceAll('\r', '').split('\n').slice(0, -1)).toHaveLength(30_000);
    expect((await exec.done).exitCode).toBe(0);
  });

  it('is given up with its command', async () => {
    const open = listOf('/proc/self/fd').length;
    for (let round = 0; round < 3; round += 1) {
      const exec = await runtime.exec(id, { args: ['sleep', '308'], tty: true }, never);
      exec.stdout.resume();
      await exec.kill();
      expect(await exec.done).toEqual({ exitCode: 137 });
    }
    await sleep(100);
    expect(listOf('/proc/self/fd').length).toBeLessThanOrEqual(open);
  });
});

describe('a command whose answer is kept', () => {
  const options = { timeoutMs: 5_000, maxOutputBytes: 4_096 };
  const captured = (script: string, more: Partial<typeof options> = {}) =>
    runtime.execCaptured(id, { args: ['sh', '-c', script] }, { ...options, ...more }, never);

  it('gives exit code and output, of which the rest is thrown away', async () => {
    expect(await captured('echo a; echo b >&2; exit 4')).toMatchObject({ kind: 'exited', exitCode: 4 });
    const long = await captured('busybox seq 1 100000', { maxOutputBytes: 100 });
    expect(long).toMatchObject({ kind: 'exited', exitCode: 0 });
    expect(long.output).toHaveLength(100);
    expect(await runtime.execCaptured(id, { args: ['foo'] }, options, never)).toEqual({
      kind: 'exited',
      exitCode: 127,
      output: 'exec "foo": not found in the container\n',
    });
  });

  it('is killed at its time with its children', async () => {
    const before = performance.now();
    const result = await captured('echo begun; sleep 309 & busybox setsid sleep 310 & sleep 311', { timeoutMs: 500 });
    expect(performance.now() - before).toBeLessThan(3_000);
    expect(result).toEqual({ kind: 'timed-out', output: 'begun\n' });
    expect(await others()).toEqual([]);
    expect(await captured('sleep 312', { timeoutMs: 1 })).toEqual({ kind: 'timed-out', output: '' });
    expect(await others()).toEqual([]);
  });

  it('can be cancelled', async () => {
    const abort = new AbortController();
    const work = runtime.execCaptured(id, { args: ['sleep', '313'] }, options, abort.signal);
    setTimeout(() => {
      abort.abort();
    }, 100);
    expect(await failure(work)).toMatchObject({ code: 'cancelled' });
    expect(await others()).toEqual([]);
  });
});

describe('an agent that is killed', () => {
  let bundle: string;
  beforeAll(async () => {
    bundle = join(import.meta.dirname, '../../../node_modules/.cache', `ft-exec-agent-${String(process.pid)}.mjs`);
    const entry = join(import.meta.dirname, 'exec-agent.ts');
    await build({ entryPoints: [entry], outfile: bundle, bundle: true, platform: 'node', format: 'esm', packages: 'external' }); // prettier-ignore
  });
  afterAll(() => {
    rmSync(bundle, { force: true });
  });

  async function killDuring(command: readonly string[], afterMs: number | undefined, how: 'agent' | 'cgroup') {
    const { logger: _, ...options } = fixture.options;
    const agent: ChildProcess = spawn(process.execPath, [bundle, JSON.stringify(options), id, ...command], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const cgroup = join(fixture.options.cgroupParent, 'agent');
    await makeCgroup(fixture.layout, cgroup);
    await moveToCgroup(fixture.layout, cgroup, agent.pid ?? 0);
    const lines = createInterface({ input: agent.stdout! })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe('ready');
    if (afterMs === undefined) expect((await lines.next()).value).toBe('started');
    else await sleep(afterMs);
    const exited = once(agent, 'exit');
    const killFile = join(fixture.layout.unified ?? '', cgroup, 'cgroup.kill');
    if (how === 'cgroup' && fixture.layout.unified !== undefined) writeFileSync(killFile, '1');
    else agent.kill('SIGKILL');
    await exited;
  }

  it.each([
    ['agent', undefined],
    ['cgroup', undefined],
    ['agent', 5],
    ['agent', 20],
    ['cgroup', 20],
    ['cgroup', 30],
    ['cgroup', 40],
    ['cgroup', 50],
  ] as const)('leaves commands to the next one, which ends them (%s, %s ms)', async (how, afterMs) => {
    await runtime.close();
    await killDuring(['sh', '-c', 'sleep 314 & (busybox setsid sleep 315 &) ; sleep 316'], afterMs, how);
    runtime = await fixture.open();
    const [container] = await runtime.list();
    expect(container?.state.kind).toBe('running');
    await sleep(100);
    // Of a session of its own, and its parent dead: nobody can tell it from what the container started itself.
    expect((await others()).filter((line) => line !== 'sleep 315')).toEqual([]);
    expect(execFolders()).toEqual([]);
  });
});
