import { describe, expect, it } from 'vitest';
import { refusal } from '../../../agent/runtime/oci/choose-runtime.ts';
import { parseReply } from '../../../agent/runtime/oci/conmon.ts';
import { createFailure } from '../../../agent/runtime/oci/create-failure.ts';
import { isContainerId, runtimeFolders } from '../../../agent/runtime/oci/folders.ts';
import { signalNumber } from '../../../agent/runtime/oci/signals.ts';
import type { ContainerSpec } from '../../../agent/runtime/runtime.ts';
import { constants } from 'node:os';
import { describeError, FrotaError } from '../../../proto/base/errors.ts';
import { isStopSignal } from '../../../proto/domain/stop-signal.ts';

describe('signalNumber', () => {
  it.each([
    ['SIGTERM', 15],
    ['term', 15],
    ['9', 9],
    ['SIGRTMIN+3', 37],
    ['SIGRTMAX-1', 63],
    ['RTMIN', 34],
  ])('%s is %i', (text, number) => {
    expect(signalNumber(text)).toBe(number);
    expect(isStopSignal(text)).toBe(true);
  });

  it('knows what may be declared', () => {
    const declarable = Object.keys(constants.signals).filter(isStopSignal);
    expect(declarable.length).toBeGreaterThan(30);
    expect(declarable.map(signalNumber)).not.toContain(undefined);
    expect(isStopSignal('SIGRTMIN+30') && signalNumber('SIGRTMIN+30')).toBe(64);
  });

  it.each(['', 'SIGNOPE', '0', '65', '-9', 'SIGRTMIN+99'])('refuses %j', (text) => {
    expect(() => signalNumber(text)).toThrow(FrotaError);
    expect(isStopSignal(text)).toBe(false);
  });
});

describe('parseReply', () => {
  it('takes the pid, under either name', () => {
    expect(parseReply('{"data": 4242}\n', '')).toBe(4242);
    expect(parseReply('{"pid":7}', '')).toBe(7);
  });

  it('throws with the runtime own words, or with what conmon wrote', () => {
    expect(() => parseReply('{"data": -1, "message": "runc create failed: nope\\n"}\n', 'x')).toThrow(
      'runc create failed: nope',
    );
    expect(() => parseReply('{"data": -1}\n', 'log line\n')).toThrow('log line');
    expect(() => parseReply('', 'conmon: bad flag\n')).toThrow(/without making the container: conmon: bad flag/);
  });
});

describe('createFailure', () => {
  const spec = { args: ['foo'] } as unknown as ContainerSpec;
  it.each([
    ['exec: "foo": executable file not found in $PATH: unknown', 'invalid', 'exec "foo" not found in image'],
    ['executable file `foo` not found in $PATH: No such file or directory', 'invalid', 'exec "foo" not found in image'],
    ['exec: "/foo": stat /foo: no such file or directory', 'invalid', 'exec "foo" not found in image'],
    ['time="2026" level=error msg="exec: \\"foo\\": executable file not found"', 'invalid', 'exec "foo" not found'],
    ['exec: "/foo": permission denied', 'invalid', 'exec "foo" is no executable file'],
    ['open executable: Permission denied', 'invalid', 'exec "foo" is no executable file'],
    [
      'time="2026" level=warning msg="unable to x"\ntime="2026" level=error msg="runc create failed: \\"a\\" b"',
      'unavailable',
      'the container could not be made: runc create failed: "a" b',
    ],
    ['container init was OOM-killed (memory limit too low?)', 'unavailable', 'OOM-killed'],
  ])('reads %j', (words, code, message) => {
    const error = createFailure(spec, new FrotaError('invalid', words));
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
    expect(describeError(error)).not.toContain('level=');
  });

  it('leaves what the runtime did not say', () => {
    const error = new FrotaError('deadline', 'not made after 30000 ms');
    expect(createFailure(spec, error)).toBe(error);
  });
});

describe('folders', () => {
  it('takes ids that are names', () => {
    for (const id of ['a', 'Vx_9-k', '0']) expect(isContainerId(id)).toBe(true);
    for (const id of ['', '-a', '.', '..', 'a/b', 'a.b', 'x'.repeat(101), 'a b']) expect(isContainerId(id)).toBe(false);
    expect(() => runtimeFolders('/d', '/r').container('../x')).toThrow(FrotaError);
  });
});

describe('choose-runtime', () => {
  const all = 0x1ffffffffffn;
  it('refuses crun where it is known to fail, with a reason', () => {
    expect(refusal('crun', 'hybrid', all)).toMatch(/hybrid/);
    expect(refusal('crun', 'v2', all)).toBeUndefined();
    expect(refusal('crun', 'v2', 0x1fffeffffffn)).toMatch(/CAP_SYS_RESOURCE/);
    expect(refusal('crun', 'v1', 0n)).toBeUndefined();
    expect(refusal('runc', 'hybrid', 0n)).toBeUndefined();
  });
});
