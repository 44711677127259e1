import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resolveInRoot } from '../../../agent/host/resolve-in-root.ts';
import { maxFileBytes, readRootfsFile } from '../../../agent/runtime/oci/rootfs-files.ts';

let folder: string;
let root: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ft-rootfs-'));
  root = join(folder, 'root');
  mkdirSync(join(root, 'etc'), { recursive: true });
  mkdirSync(join(root, 'usr/etc'), { recursive: true });
  writeFileSync(join(folder, 'secret'), 'host secret');
  writeFileSync(join(root, 'usr/etc/passwd'), 'inside');
  symlinkSync('/usr/etc/passwd', join(root, 'etc/absolute'));
  symlinkSync('../usr/etc/passwd', join(root, 'etc/relative'));
  symlinkSync('../../../../../../../../usr/etc/passwd', join(root, 'etc/above'));
  symlinkSync('/usr/etc', join(root, 'link-folder'));
  symlinkSync('/etc/loop', join(root, 'etc/loop'));
  symlinkSync(join(folder, 'secret'), join(root, 'etc/out'));
  symlinkSync('../../secret', join(root, 'etc/out-relative'));
  symlinkSync('/', join(root, 'slash'));
  execFileSync('mkfifo', [join(root, 'etc/fifo')]);
  writeFileSync(join(root, 'etc/huge'), '');
  truncateSync(join(root, 'etc/huge'), maxFileBytes + 1);
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('readRootfsFile', () => {
  it.each([
    '/usr/etc/passwd',
    '/etc/absolute',
    '/etc/relative',
    '/etc/above',
    '/link-folder/passwd',
    '/slash/slash/usr/etc/passwd',
  ])('reads %s as the container would', async (path) => {
    expect(await readRootfsFile(root, path)).toBe('inside');
  });

  it.each(['/etc/out', '/etc/out-relative', '/etc/loop', '/etc/none', '/etc/fifo', '/etc', '/../secret'])(
    'finds no text at %s',
    async (path) => {
      expect(await readRootfsFile(root, path)).toBe('');
    },
  );

  it('bounds what it reads', async () => {
    await expect(readRootfsFile(root, '/etc/huge')).rejects.toThrow(/larger than/);
  });

  it('resolves to places below the root only', async () => {
    expect(await resolveInRoot(root, '/etc/above')).toBe(join(root, 'usr/etc/passwd'));
    expect(await resolveInRoot(root, '../../..')).toBe(root);
  });
});
