import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FrotaError } from '../../../proto/base/errors.ts';
import { findPrograms, lastLines, missingProgramsError, requirePrograms, run } from '../../../agent/host/programs.ts';

const failure = async (work: Promise<unknown>): Promise<FrotaError> => {
  const thrown: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof FrotaError)) throw new Error(`expected a FrotaError, got ${String(thrown)}`);
  return thrown;
};

describe('run', () => {
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

  it('survives a program that does not read its input', async () => {
    const result = await run('true', [], { input: 'x'.repeat(1_000_000) });
    expect(result.code).toBe(0);
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
