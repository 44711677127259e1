import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FrotaError } from '../../../proto/base/errors.ts';
import { cgroupPids, controllerFolder } from '../../../agent/host/cgroups.ts';
import type { OciRuntime } from '../../../agent/runtime/oci/oci-runtime.ts';
import { exitOf, makeFixture, readText, runToEnd, type Fixture } from './fixture.ts';

const never = new AbortController().signal;
const mebibyte = 1024 * 1024;
const nothing = { mounts: [], pids: [], cgroups: [], folders: [] };

let fixture: Fixture;
let runtime: OciRuntime;

beforeAll(async () => {
  fixture = await makeFixture('basic');
  runtime = await fixture.open();
});
afterEach(async () => {
  for (const { id } of await runtime.list()) await runtime.remove(id);
  expect(await fixture.traces()).toEqual(nothing);
});
afterAll(async () => {
  await fixture.close();
});

const failure = async (work: Promise<unknown>): Promise<FrotaError> => {
  const thrown: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof FrotaError)) throw new Error(`expected a FrotaError, got ${String(thrown)}`);
  return thrown;
};

describe('the life of a container', () => {
  it('goes from created to running to ended and tells its exit code once', async () => {
    const seen: (number | undefined)[] = [];
    runtime.onExit((id, exit) => {
      if (id === 'life') seen.push(exit.exitCode);
    });
    await runtime.create(fixture.spec('life', ['sh', '-c', 'sleep 0.3; exit 7']), never);
    expect(await runtime.list()).toEqual([{ id: 'life', state: { kind: 'created' } }]);
    const before = Date.now();
    const { pid, startedAtMs } = await runtime.start('life');
    expect(startedAtMs).toBeGreaterThanOrEqual(before);
    expect(await runtime.start('life')).toEqual({ pid, startedAtMs });
    expect(await runtime.list()).toEqual([{ id: 'life', state: { kind: 'running', pid, startedAtMs } }]);
    const exit = await exitOf(runtime, 'life');
    expect(exit).toMatchObject({ exitCode: 7, oomKilled: false });
    expect(exit.finishedAtMs - startedAtMs).toBeGreaterThan(250);
    expect(exit.finishedAtMs - startedAtMs).toBeLessThan(5_000);
    await sleep(500);
    expect(seen).toEqual([7]);
    expect(await runtime.list()).toEqual([{ id: 'life', state: { kind: 'ended', startedAtMs, exit } }]);
  });

  it('says 128 + signal when a signal ended it', async () => {
    const script = 'trap "exit 5" TERM; sleep 0.1; echo ready; while :; do sleep 0.05; done';
    await runtime.create(fixture.spec('sig', ['sleep', '60']), never);
    await runtime.create(fixture.spec('trap', ['sh', '-c', script]), never);
    await Promise.all([runtime.start('sig'), runtime.start('trap')]);
    const ends = Promise.all([exitOf(runtime, 'sig'), exitOf(runtime, 'trap')]);
    await expect.poll(() => runtime.lastOutput('trap'), { timeout: 5_000 }).toBe('ready\n');
    await runtime.kill('sig', 'SIGKILL');
    await runtime.kill('trap', 'TERM');
    expect((await ends).map((exit) => exit.exitCode)).toEqual([137, 5]);
    await runtime.kill('sig', 'SIGKILL');
    expect((await failure(runtime.kill('sig', 'SIGNONSENSE'))).code).toBe('invalid');
  });

  it('gives the process what the spec says, and defaults for the rest', async () => {
    const { exit, output } = await runToEnd(
      runtime,
      fixture.spec('env', ['sh', '-c', 'id; pwd; hostname; env; cat /etc/hosts; echo "$0 $1"', 'zero', 'two words'], {
        environment: ['WORD=a b=c'],
        workingDir: '/srv/new/folder',
        user: 'ana',
        hostname: 'boat-1',
        labels: { 'run.oci.handler': 'wasm' },
        files: [{ source: writeHostFile('hosts', '10.0.0.7 counter\n'), target: '/etc/hosts' }],
      }),
    );
    expect(output).toContain('uid=1000(ana) gid=1001(ana) groups=1001(ana),1002(boats),1003(sails)\n');
    expect(output).toContain('/srv/new/folder\nboat-1\n');
    for (const line of ['WORD=a b=c', 'HOME=/home/ana', 'HOSTNAME=boat-1']) expect(output).toContain(`${line}\n`);
    expect(output).toContain('PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n');
    expect(output).toContain('10.0.0.7 counter\n');
    expect(output).toContain('zero two words\n');
    expect(exit.exitCode).toBe(0);
  });

  it('keeps the container in its place: masked and read-only paths, capabilities, system calls', async () => {
    const script = [
      'touch /etc/hosts2 && echo root-writable',
      'touch /proc/sys/kernel/hostname 2>&1 || true; echo x 2>/dev/null >/proc/sys/kernel/hostname || echo sys-read-only',
      'test -s /proc/kcore || echo kcore-masked',
      'touch /sys/x 2>/dev/null || echo sysfs-read-only',
      'mount -t tmpfs none /tmp 2>/dev/null || echo no-mount',
      'unshare -n true 2>/dev/null || echo no-unshare',
      'grep -E "^(CapEff|Seccomp|NoNewPrivs):" /proc/self/status',
      'ls /dev; stat -c %a /; ls /sys/fs/cgroup | head -n 1',
      'grep -c . /proc/net/dev',
    ].join('; ');
    const { output } = await runToEnd(runtime, fixture.spec('jail', ['sh', '-c', script]));
    for (const word of [
      'root-writable',
      'sys-read-only',
      'kcore-masked',
      'sysfs-read-only',
      'no-mount',
      'no-unshare',
    ]) {
      expect(output).toContain(`${word}\n`);
    }
    expect(output).toContain('CapEff:\t00000000a80425fb\n');
    expect(output).toContain('Seccomp:\t2\n');
    expect(output).toMatch(/\bmqueue\n/);
    expect(output).toContain('\n755\n');
  });

  it('writes standard output and standard error to the log, and reads back its end', async () => {
    const script = 'echo out; echo err >&2; for i in $(busybox seq 1 3000); do echo line $i; done';
    const { output } = await runToEnd(runtime, fixture.spec('log', ['sh', '-c', script]));
    const log = readText(join(fixture.options.dataDir, 'containers/log/log'));
    expect(log).toMatch(/^\S+ stdout F out$/m);
    expect(log).toMatch(/^\S+ stderr F err$/m);
    expect(output.endsWith('line 2999\nline 3000\n')).toBe(true);
    expect(Buffer.byteLength(output)).toBeLessThanOrEqual(4096);
    expect(await runtime.lastOutput('nobody')).toBe('');
  });
});

describe('limits', () => {
  it('kills what takes more memory than it may, and says so', async () => {
    const spec = fixture.spec('oom', ['sh', '-c', 'head -c 200m /dev/zero | tail'], { limits: { memoryBytes: 32 * mebibyte } }); // prettier-ignore
    const { exit } = await runToEnd(runtime, spec);
    expect(exit).toMatchObject({ exitCode: 137, oomKilled: true });
  });

  it('does not cry oom over a container killed by a signal', async () => {
    await runtime.create(fixture.spec('nooom', ['sleep', '60'], { limits: { memoryBytes: 32 * mebibyte } }), never);
    await runtime.start('nooom');
    const end = exitOf(runtime, 'nooom');
    await runtime.kill('nooom', '9');
    expect(await end).toMatchObject({ exitCode: 137, oomKilled: false });
  });

  it('stops a fork bomb', async () => {
    const bomb = 'i=0; while [ $i -lt 300 ]; do sleep 30 & i=$((i+1)); done; echo never';
    await runtime.create(fixture.spec('bomb', ['sh', '-c', bomb], { limits: { pids: 32 } }), never);
    await runtime.start('bomb');
    await expect.poll(() => runtime.lastOutput('bomb'), { timeout: 10_000 }).toMatch(/can't fork/);
    const pids = await cgroupPids(fixture.layout, join(fixture.options.cgroupParent, 'containers/bomb'));
    expect(pids.length).toBeLessThanOrEqual(32);
    expect(await runtime.lastOutput('bomb')).not.toContain('never');
  });

  it('holds a busy loop to its share of a core', async () => {
    const spec = fixture.spec('busy', ['sh', '-c', 'while :; do :; done'], { limits: { cpuMillis: 300 } });
    await runtime.create(spec, never);
    await runtime.start('busy');
    await sleep(300);
    const [cpuBefore, wallBefore] = [cpuMs('busy'), performance.now()];
    await sleep(2_000);
    const share = (cpuMs('busy') - cpuBefore) / (performance.now() - wallBefore);
    expect(share).toBeGreaterThan(0.05);
    expect(share).toBeLessThan(0.4);
  });

  function cpuMs(id: string): number {
    const path = join(fixture.options.cgroupParent, 'containers', id);
    if (fixture.layout.kind === 'v2') {
      const text = readText(join(controllerFolder(fixture.layout, 'cpu', path) ?? '', 'cpu.stat'));
      return Number(/^usage_usec (\d+)$/m.exec(text)?.[1]) / 1e3;
    }
    return Number(readText(join(controllerFolder(fixture.layout, 'cpuacct', path) ?? '', 'cpuacct.usage'))) / 1e6;
  }
});

describe('what can not be made leaves nothing behind', () => {
  const cases: readonly [name: string, args: readonly string[], more: object, code: string, words: RegExp][] = [
    ['a command that is not there', ['foo'], {}, 'invalid', /^exec "foo" not found in image/],
    ['a path that is not there', ['/bin/foo'], {}, 'invalid', /^exec "\/bin\/foo" not found in image/],
    ['a folder as command', ['/tmp'], {}, 'invalid', /^exec "\/tmp" is no executable file/],
    ['no command', [], {}, 'invalid', /no command/],
    ['an unknown user', ['id'], { user: 'nobody-here' }, 'invalid', /nobody-here.*\/etc\/passwd/],
    ['a missing layer', ['id'], { lowerDirs: ['/nonexistent/layer'] }, 'unavailable', /mount/],
    ['a missing network', ['id'], { networkNamespace: '/run/netns/ft-none' }, 'unavailable', /ft-none/],
  ];
  it.each(cases)('%s', async (_name, args, more, code, words) => {
    const error = await failure(runtime.create(fixture.spec('bad', args, more), never));
    expect(error.message).toMatch(words);
    expect(error.code).toBe(code);
    expect(await fixture.traces()).toEqual(nothing);
    expect(await runtime.list()).toEqual([]);
  });

  it('an id that is no name', async () => {
    expect((await failure(runtime.create(fixture.spec('../x', ['id']), never))).code).toBe('invalid');
    expect((await failure(runtime.create(fixture.spec('-x', ['id']), never))).code).toBe('invalid');
  });

  it('one that was cancelled in the midst', async () => {
    for (const delayMs of [0, 2, 8, 20, 35]) {
      const controller = new AbortController();
      const work = runtime.create(fixture.spec('cut', ['sleep', '60']), controller.signal).then(
        () => 'made',
        (error: unknown) => (error as FrotaError).code,
      );
      setTimeout(() => {
        controller.abort();
      }, delayMs);
      const result = await work;
      expect(['made', 'cancelled']).toContain(result);
      await runtime.remove('cut');
      expect(await fixture.traces()).toEqual(nothing);
    }
  });

  it('one that exists is not made twice', async () => {
    await runtime.create(fixture.spec('twice', ['sleep', '60']), never);
    expect((await failure(runtime.create(fixture.spec('twice', ['sleep', '60']), never))).code).toBe('already-exists');
    expect(await runtime.list()).toHaveLength(1);
  });
});

describe('an image is trusted for nothing', () => {
  it('does not follow its /etc/passwd out of its root filesystem', async () => {
    const layer = join(fixture.folder, 'evil');
    mkdirSync(join(layer, 'etc'), { recursive: true });
    rmSync(join(layer, 'etc/passwd'), { force: true });
    const outside = writeHostFile('passwd', 'ana:x:0:0::/:/bin/sh\nhostuser:x:4242:4242::/:/bin/sh\n');
    for (const target of ['/etc/passwd', outside, `../../../../../../../..${outside}`]) {
      rmSync(join(layer, 'etc/passwd'), { force: true });
      symlinkSync(target, join(layer, 'etc/passwd'));
      const spec = fixture.spec('evil', ['id'], { lowerDirs: [layer, fixture.rootfs], user: 'hostuser' });
      expect((await failure(runtime.create(spec, never))).message).toContain('"hostuser" is not in the image');
      const root = await failure(runtime.create({ ...spec, user: 'daemon' }, never));
      expect(root.message).toContain('"daemon" is not in the image');
    }
  });

  it('makes the target of a bound file inside, whatever symlinks lead there', async () => {
    const layer = join(fixture.folder, 'evil-hosts');
    mkdirSync(join(layer, 'etc'), { recursive: true });
    const outside = join(fixture.folder, 'host-target');
    symlinkSync(outside, join(layer, 'etc/hosts'));
    const { output } = await runToEnd(
      runtime,
      fixture.spec('evilhosts', ['cat', '/etc/hosts'], {
        lowerDirs: [layer, fixture.rootfs],
        files: [{ source: writeHostFile('hosts', 'bound\n'), target: '/etc/hosts' }],
      }),
    );
    expect(output).toBe('bound\n');
    expect(() => readFileSync(outside)).toThrow(/ENOENT/);
  });
});

function writeHostFile(name: string, text: string): string {
  const path = join(fixture.folder, `host-${name}`);
  writeFileSync(path, text);
  return path;
}
