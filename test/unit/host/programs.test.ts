import { createHash } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FrotaError } from '../../../proto/base/errors.ts';
import { pino } from 'pino';
import { Launcher } from '../../../agent/host/launcher.ts';
import { missingProgramsError } from '../../../agent/host/missing-programs.ts';
import { findPrograms, lastLines, requirePrograms, run, startProgramsThrough } from '../../../agent/host/programs.ts';

const failure = async (work: Promise<unknown>): Promise<FrotaError> => {
  const thrown: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof FrotaError)) throw new Error(`expected a FrotaError, got ${String(thrown)}`);
  return thrown;
};

describe.each(['by this process', 'by the launcher'])('run %s', (by) => {
  let folder: string;
  let launcher: Launcher | undefined;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ft-calls-'));
    if (by === 'by this process') return;
    launcher = new Launcher(join(folder, 'calls'), pino({ level: 'silent' }));
    startProgramsThrough(launcher);
  });
  afterAll(async () => {
    launcher?.close();
    await rm(folder, { recursive: true });
  });

  it('returns both streams and hands input over', async () => {
    const result = await run('sh', ['-c', 'cat; echo err >&2'], { input: 'hello' });
    expect(result).toEqual({ stdout: 'hello', stderr: 'err\n', code: 0 });
  });

  it('uses cwd and env', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ft-run-'));
    try {
      const result = await run('/bin/sh', ['-c', 'pwd; echo $WORD'], { cwd: folder, env: { WORD: 'frota' } });
      expect(result.stdout).toBe(`${folder}\nfrota\n`);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('names the program, its exit code and its last lines when it fails', async () => {
    const error = await failure(run('sh', ['-c', 'for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3']));
    expect(error.code).toBe('unavailable');
    expect(error.message).toMatch(/^sh -c .*exited with code 3: line 3 \| line 4 \| line 5 \| line 6 \| line 7$/);
  });

  it('returns codes that were allowed', async () => {
    expect((await run('sh', ['-c', 'exit 4'], { allowedCodes: [0, 4] })).code).toBe(4);
  });

  it('names the signal that ended it', async () => {
    expect((await failure(run('sh', ['-c', 'kill -TERM $$']))).message).toContain('was ended by SIGTERM');
  });

  it('names the Debian package of a missing program', async () => {
    const error = await failure(run('nft', [], { env: { PATH: '/nonexistent' } }));
    expect(error.code).toBe('unsupported');
    expect(error.message).toBe('missing program: nft; run: apt-get install nftables');
  });

  it('says so when the folder to run in is missing', async () => {
    const error = await failure(run('sh', [], { cwd: '/nonexistent/folder' }));
    expect(error.code).toBe('unavailable');
    expect(error.message).toContain('/nonexistent/folder');
  });

  it('kills what takes too long, also when a grandchild keeps the pipes open', async () => {
    const before = Date.now();
    const error = await failure(run('sh', ['-c', 'sleep 5 & sleep 5'], { timeoutMs: 100 }));
    expect(error.code).toBe('deadline');
    expect(Date.now() - before).toBeLessThan(3_000);
  });

  it('kills on abort and does not start when aborted before', async () => {
    const controller = new AbortController();
    const running = failure(run('sleep', ['5'], { signal: controller.signal }));
    setTimeout(() => {
      controller.abort();
    }, 50);
    expect((await running).code).toBe('cancelled');
    expect((await failure(run('sleep', ['5'], { signal: controller.signal }))).code).toBe('cancelled');
  });

  it('bounds output', async () => {
    const error = await failure(run('head', ['-c', '100000', '/dev/zero'], { maxOutputBytes: 1_000 }));
    expect(error.code).toBe('exhausted');
  });

  it('hands over words as they are, whatever a shell would make of them', async () => {
    const words = ["it's", 'a\nb', '$HOME `id` "x" \\', '', '*', '; exit 9', "'"];
    const result = await run('printf', ['%s|', ...words]);
    expect(result.stdout).toBe(words.map((word) => `${word}|`).join(''));
  });

  it('keeps what many at a time say apart, and their codes', async () => {
    const said = await Promise.all(
      Array.from({ length: 40 }, async (_, n) => {
        const script = `sleep 0.0${String(n % 7)}; cat; echo ${String(n)} >&2; exit ${String(n % 5)}`;
        return run('sh', ['-c', script], { input: `in ${String(n)}`, allowedCodes: [0, 1, 2, 3, 4] });
      }),
    );
    expect(said).toEqual(said.map((_, n) => ({ stdout: `in ${String(n)}`, stderr: `${String(n)}\n`, code: n % 5 })));
    // A shorter answer in a place that was used before is not mixed with the longer one.
    expect((await run('sh', ['-c', 'cat'])).stdout).toBe('');
  });

  it('hands bytes over as they are', async () => {
    const input = Uint8Array.from({ length: 200_000 }, (_, at) => at % 251);
    const { stdout } = await run('sha256sum', [], { input });
    expect(stdout.split(' ')[0]).toBe(createHash('sha256').update(input).digest('hex'));
  });

  it('survives a program that does not read its input', async () => {
    const result = await run('true', [], { input: 'x'.repeat(1_000_000) });
    expect(result.code).toBe(0);
  });
});

describe('the launcher', () => {
  it('starts again when it was killed, and what it had started is not taken for done', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ft-calls-'));
    const launcher = new Launcher(join(folder, 'calls'), pino({ level: 'silent' }));
    startProgramsThrough(launcher);
    try {
      const { stdout } = await run('sh', ['-c', 'ps -o ppid= -p $PPID']);
      // Found once, it is started at once.
      await run('sleep', ['0']);
      const running = failure(run('sleep', ['3']));
      process.kill(Number(stdout), 'SIGKILL');
      expect((await running).message).toContain('how it ended is not known');
      expect((await run('echo', ['again'])).stdout).toBe('again\n');
    } finally {
      launcher.close();
    }
    expect(await readdir(folder)).toEqual([]);
    await rm(folder, { recursive: true });
  });

  it('leaves no process behind that nobody waits for', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ft-calls-'));
    const launcher = new Launcher(join(folder, 'calls'), pino({ level: 'silent' }));
    startProgramsThrough(launcher);
    try {
      for (let round = 0; round < 20; round += 1) await run('true', []);
      const { stdout } = await run('sh', ['-c', 'ps -o ppid= -p $PPID']);
      const pid = Number(stdout);
      const children = (await readFile(`/proc/${String(pid)}/task/${String(pid)}/children`, 'utf8')).trim().split(' ');
      // The latest may still be about to end.
      expect(children.length).toBeLessThan(10);
    } finally {
      launcher.close();
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('findPrograms', () => {
  it('reports all that are missing at once, with the command that installs them', async () => {
    const { found, missing } = await findPrograms(['sh', 'conmon', 'ip', 'tc', 'frobnicate'], '/nonexistent:/bin');
    expect(found.get('sh')).toBe('/bin/sh');
    expect(missing.map((each) => each.program)).toContain('frobnicate');
    const error = missingProgramsError([
      { program: 'conmon', debianPackage: 'conmon' },
      { program: 'ip', debianPackage: 'iproute2' },
      { program: 'tc', debianPackage: 'iproute2' },
    ]);
    expect(error.message).toBe('missing programs: conmon, ip, tc; run: apt-get install conmon iproute2');
    expect(error.problems).toHaveLength(3);
  });

  it('throws one error for all', async () => {
    const error = await failure(requirePrograms(['runc', 'conmon'], '/nonexistent'));
    expect(error.code).toBe('unsupported');
    expect(error.message).toContain('apt-get install conmon runc');
  });
});

describe('lastLines', () => {
  it('skips empty lines', () => {
    expect(lastLines('a\n\nb\n  c  \n\n', 2)).toBe('b | c');
    expect(lastLines('', 2)).toBe('');
  });
});
