import { describe, expect, it } from 'vitest';
import { detectCgroupLayout } from '../../../agent/host/cgroups.ts';
import { ociArchitecture, parseCpuMax, parseOwnBounds, readHostFacts } from '../../../agent/host/facts.ts';
import { parseMountinfo } from '../../../agent/host/mounts.ts';
import { identifyPid, isRunning, parseStat, readBootId } from '../../../agent/host/processes.ts';

describe('mounts', () => {
  it('resolves octal escapes and optional fields', () => {
    const line =
      '36 35 98:0 /mnt1 /mnt/with\\040blank rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue';
    expect(parseMountinfo(`${line}\nnot a mount\n`)).toEqual([
      { mountPoint: '/mnt/with blank', type: 'ext3', superOptions: ['rw', 'errors=continue'] },
    ]);
  });
});

describe('processes', () => {
  it('reads a stat line whose name holds blanks and parentheses', () => {
    const text =
      '4242 (a (b) c) S 17 4242 4242 0 -1 4194560 116 0 0 0 0 0 0 0 20 0 1 0 987654 2703360 111 18446744073709551615';
    expect(parseStat(text)).toEqual({ state: 'S', parent: 17, session: 4242, startTicks: 987654 });
    expect(parseStat('')).toBeUndefined();
  });

  it('tells a process from another with the same pid, and from one of another boot', async () => {
    const bootId = await readBootId();
    const self = await identifyPid(process.pid, bootId);
    if (self === undefined) throw new Error('this process does not exist');
    expect(await isRunning(self, bootId)).toBe(true);
    expect(await isRunning({ ...self, startTicks: self.startTicks + 1 }, bootId)).toBe(false);
    expect(await isRunning(self, 'another-boot')).toBe(false);
  });
});

describe('facts', () => {
  it.each([
    ['max 100000', Infinity],
    ['150000 100000\n', 1_500],
    ['-1 100000', Infinity],
    ['30000 100000', 300],
    ['', Infinity],
  ])('reads a quota %j', (text, millis) => {
    expect(parseCpuMax(text)).toBe(millis);
  });

  it('uses OCI names of architectures', () => {
    expect(ociArchitecture('x64')).toBe('amd64');
    expect(ociArchitecture('arm64')).toBe('arm64');
    expect(() => ociArchitecture('pdp11')).toThrow(/pdp11/);
  });

  it('reads the limits of this process', () => {
    const limits =
      'Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 20000                files\n';
    expect(parseOwnBounds(limits, 'CapEff:\t0\nCapBnd:\t000001fffeffffff\n')).toEqual({
      nofileHard: 20_000,
      capabilityBounds: 0x1fffeffffffn,
    });
    expect(parseOwnBounds(limits.replace('20000', 'unlimited'), 'CapBnd:\t0\n').nofileHard).toBe(Infinity);
    expect(() => parseOwnBounds('', '')).toThrow();
  });

  it('finds this host to have something', async () => {
    const facts = await readHostFacts('1.2.3', await detectCgroupLayout(), '/ft-no-such-cgroup');
    expect(facts.capacity.cpuMillis).toBeGreaterThanOrEqual(100);
    expect(facts.capacity.memoryBytes).toBeGreaterThan(64 * 1024 * 1024);
    expect(Number.isInteger(facts.capacity.memoryBytes)).toBe(true);
    expect(facts).toMatchObject({ os: 'linux', agentVersion: '1.2.3' });
  });
});
