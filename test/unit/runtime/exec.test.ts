import { Readable, Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { FrotaError } from '../../../proto/base/errors.ts';
import { captureExec } from '../../../agent/runtime/oci/exec/captured-exec.ts';
import { execFailure } from '../../../agent/runtime/oci/exec/exec-failure.ts';
import { execSpec } from '../../../agent/runtime/oci/exec/exec-spec.ts';
import { treeOf } from '../../../agent/runtime/oci/exec/session.ts';
import type { OciSpec } from '../../../agent/runtime/oci/oci-spec.ts';
import type { Exec } from '../../../agent/runtime/runtime.ts';

const own: OciSpec['process'] = {
  terminal: false,
  user: { uid: 0, gid: 0, additionalGids: [0] },
  args: ['server'],
  env: ['PATH=/bin', 'HOME=/root', 'A=1'],
  cwd: '/srv',
  capabilities: { bounding: ['CAP_KILL'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'] },
  rlimits: [],
  oomScoreAdj: 0,
  noNewPrivileges: false,
};
const users = { passwd: 'root:x:0:0::/root:/bin/sh\nana:x:1000:1001::/home/ana:\n', group: 'boats:x:7:ana\n' };

describe('execSpec', () => {
  it('is what the container runs with, but for its command', () => {
    expect(execSpec(own, { args: ['id'] }, users)).toEqual({ ...own, args: ['id'] });
  });

  it('lets the request say it otherwise', () => {
    const request = { args: ['id'], environment: ['A=2', 'B=x=y'], workingDir: '../tmp', user: 'ana', tty: true };
    expect(execSpec(own, request, users)).toEqual({
      ...own,
      terminal: true,
      args: ['id'],
      cwd: '/tmp',
      user: { uid: 1000, gid: 1001, additionalGids: [1001, 7] },
      env: ['TERM=xterm', 'PATH=/bin', 'HOME=/home/ana', 'A=2', 'B=x=y'],
    });
  });

  it('leaves a home and a terminal type that somebody chose', () => {
    const chosen = { ...own, env: ['HOME=/data', 'TERM=vt100'] };
    expect(execSpec(chosen, { args: ['id'], user: '1000', tty: true }, users).env).toEqual([
      'TERM=vt100',
      'HOME=/data',
    ]);
  });

  it('refuses nothing to run and an unknown user', () => {
    expect(() => execSpec(own, { args: [] }, users)).toThrow(FrotaError);
    expect(() => execSpec(own, { args: ['id'], user: 'rui' }, users)).toThrow(/"rui"/);
  });
});

describe('execFailure', () => {
  const request = { args: ['foo'], workingDir: '/nope' };
  const log = (words: string) => `time="x" level=error msg=${JSON.stringify(`exec failed: ${words}`)}\n`;
  const start = 'unable to start container process: ';

  it.each([
    [`${start}exec: "foo": executable file not found in $PATH`, 127],
    [`${start}exec: "/foo": stat /foo: no such file or directory`, 127],
    [`${start}exec: "/etc": permission denied`, 126],
    ['executable file `foo` not found in $PATH: No such file or directory', 127],
  ])('reads %j', (words, exitCode) => {
    expect(execFailure(log(words), request)).toMatchObject({ exitCode });
  });

  it.each([
    [`${start}chdir to cwd ("/nope") set in config.json failed: no such file or directory`, 'invalid', /"\/nope"/],
    ['cannot allocate memory', 'unavailable', /cannot allocate memory/],
    ['', 'unavailable', /exec failed/],
  ])('throws %j', (words, code, message) => {
    const error = execFailure(log(words), request);
    if (!(error instanceof FrotaError)) throw new Error('expected a FrotaError');
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });
});

describe('treeOf', () => {
  const stat = (parent: number, session: number) => ({ state: 'S', parent, session, startTicks: 1 });

  it('is the leader, its session and its descendants, and nobody else', () => {
    const stats = new Map([
      [10, stat(1, 10)], // the container's own
      [11, stat(10, 10)],
      [20, stat(2, 20)], // the leader
      [21, stat(20, 20)],
      [22, stat(10, 20)], // its parent is dead
      [23, stat(21, 23)], // a session of its own, its parent lives
      [24, stat(23, 23)],
      [30, stat(2, 30)], // another command
    ]);
    expect([...treeOf(20, stats)].sort()).toEqual([20, 21, 22, 23, 24]);
    stats.delete(20);
    stats.delete(21);
    expect(treeOf(20, stats)).toEqual([22]);
  });
});

describe('captureExec', () => {
  const never = new AbortController().signal;
  const execOf = (out: string, exitCode: number, ended: Promise<void> = Promise.resolve()): Exec => ({
    stdin: new Writable(),
    stdout: Readable.from([Buffer.from(out)]),
    stderr: Readable.from([]),
    resize: () => undefined,
    done: ended.then(() => ({ exitCode })),
    kill: () => Promise.resolve(),
  });

  it('keeps the beginning of the output', async () => {
    const result = await captureExec(() => Promise.resolve(execOf('abcdef', 3)), { timeoutMs: 1e4, maxOutputBytes: 4 }, never); // prettier-ignore
    expect(result).toEqual({ kind: 'exited', exitCode: 3, output: 'abcd' });
  });

  it('asks for the end at its time, also of what has not begun', async () => {
    const untilAbort = (signal: AbortSignal) =>
      new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => {
          resolve();
        });
      });
    const options = { timeoutMs: 20, maxOutputBytes: 4 };
    const slow = (signal: AbortSignal) => Promise.resolve(execOf('ab', 137, untilAbort(signal)));
    expect(await captureExec(slow, options, never)).toEqual({ kind: 'timed-out', output: 'ab' });
    const unbegun = async (signal: AbortSignal) => {
      await untilAbort(signal);
      throw new FrotaError('cancelled', 'not begun');
    };
    expect(await captureExec(unbegun, options, never)).toEqual({ kind: 'timed-out', output: '' });
  });

  it('throws what the start throws', async () => {
    const refused = () => Promise.reject(new FrotaError('conflict', 'it has ended'));
    await expect(captureExec(refused, { timeoutMs: 1e4, maxOutputBytes: 4 }, never)).rejects.toThrow('it has ended');
  });
});
