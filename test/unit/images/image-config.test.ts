import { expect, test } from 'vitest';
import { parseImageConfig } from '../../../agent/images/image-config.ts';
import { chainIds, chainSnapshotName, layerSnapshotName } from '../../../agent/images/snapshot-store.ts';

const diffId = `sha256:${'1'.repeat(64)}`;
const other = `sha256:${'2'.repeat(64)}`;
const parse = (value: unknown): ReturnType<typeof parseImageConfig> =>
  parseImageConfig(Buffer.from(JSON.stringify(value)), 'config of app:1');

test('absent and null are empty', () => {
  const rootfs = { type: 'layers', diff_ids: [diffId] };
  const empty = { entrypoint: [], command: [], environment: [], workingDir: '', user: '' };
  const platform = { os: 'linux', architecture: 'amd64' };
  expect(parse({ ...platform, rootfs })).toEqual({ config: empty, platform, diffIds: [diffId] });
  expect(parse({ ...platform, rootfs, config: { Cmd: null, Env: null, Entrypoint: null, User: '' } }).config).toEqual(
    empty,
  );
});

test('a health check as Docker writes it: nanoseconds, and 0 for what the Dockerfile did not say', () => {
  const Healthcheck = { Test: ['CMD-SHELL', 'curl -f localhost'], Interval: 5_000_000_000, Timeout: 1_500_000, StartPeriod: 0, Retries: 0 }; // prettier-ignore
  const { config } = parse({ config: { Healthcheck, Shell: ['/bin/bash', '-c'] } });
  expect(config.healthCheck).toEqual({ test: ['CMD-SHELL', 'curl -f localhost'], intervalMs: 5_000, timeoutMs: 2 });
  expect(config.shell).toEqual(['/bin/bash', '-c']);
  const all = { Test: ['CMD', 'a'], Interval: 1, Timeout: 2e9, StartPeriod: 3e9, StartInterval: 4e9, Retries: 5 };
  expect(parse({ config: { Healthcheck: all } }).config.healthCheck).toEqual({
    test: ['CMD', 'a'], intervalMs: 1, timeoutMs: 2_000, startPeriodMs: 3_000, startIntervalMs: 4_000, retries: 5,
  }); // prettier-ignore
  expect(parse({ config: { Healthcheck: { Test: [] } } }).config.healthCheck).toBeUndefined();
  expect(parse({ config: { Healthcheck: null } }).config.healthCheck).toBeUndefined();
});

test('volumes are the names of an object with empty values', () => {
  expect(parse({ config: { Volumes: { '/var/lib/b': {}, '/a': {} } } }).config.volumes).toEqual(['/a', '/var/lib/b']);
  expect(parse({ config: { Volumes: null } }).config.volumes).toBeUndefined();
});

test.each([
  [{ config: { Volumes: { data: {} } } }, 'Volumes has "data", which is no absolute path'],
  [{ config: { Volumes: { '/a/../..': {} } } }, 'which is no absolute path'],
  [{ config: { Volumes: { '//': {} } } }, 'which is no absolute path'],
  [{ config: { Healthcheck: { Interval: '30s' } } }, 'Healthcheck.Interval is not a whole number'],
  [{ config: { Healthcheck: { Retries: -1 } } }, 'Healthcheck.Retries is not a whole number'],
  [{ config: { Healthcheck: { Test: 'curl' } } }, 'Healthcheck.Test is not a list'],
  [{ rootfs: { diff_ids: ['../x'] } }, 'rootfs.diff_ids'],
  [{ config: { Cmd: 'sh' } }, 'Cmd is not a list'],
  [{ config: { Env: [1] } }, 'Env has an item'],
  [{ config: { User: 5 } }, 'User is not text'],
  [{ config: { WorkingDir: 'a\0b' } }, 'WorkingDir is not text'],
  [{ config: [] }, 'config is not an object'],
])('%j is refused', (value, message) => {
  expect(() => parse(value)).toThrow(message);
});

test('chain ids are as the specification says', () => {
  expect(chainIds([diffId])).toEqual([diffId]);
  // printf '%s %s' "$first" "$second" | sha256sum
  expect(chainIds([diffId, other])[1]).toBe('sha256:9932074217c35353d2e03a3f5a86549f7c67bfeb0ba53e23d69f4d4c8f7958f5');
});

test('127 names and their colons leave room in a page of mount options', () => {
  const name = layerSnapshotName(diffId);
  expect(name).toMatch(/^[a-z2-7]{26}$/);
  expect(chainSnapshotName(diffId)).not.toBe(name);
  expect(127 * (name.length + 1)).toBeLessThan(4096 - 600);
});
