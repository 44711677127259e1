/** What a container sees of its mounts, on the runtime of this host. */
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { OciRuntime } from '../../../agent/runtime/oci/oci-runtime.ts';
import type { ContainerMount } from '../../../agent/runtime/runtime.ts';
import { makeFixture, runToEnd, type Fixture } from './fixture.ts';

let fixture: Fixture;
let runtime: OciRuntime;
let count = 0;

beforeAll(async () => {
  fixture = await makeFixture('mounts');
  runtime = await fixture.open();
});
afterEach(async () => {
  for (const { id } of await runtime.list()) await runtime.remove(id);
  expect(await fixture.traces()).toEqual({ mounts: [], pids: [], cgroups: [], folders: [] });
});
afterAll(async () => {
  await fixture.close();
});

function hostFolder(name: string): string {
  const path = join(fixture.folder, name);
  mkdirSync(path, { recursive: true });
  return path;
}
const bind = (source: string, target: string, readOnly = false): ContainerMount => ({ kind: 'bind', source, target, readOnly }); // prettier-ignore
async function inside(
  script: string,
  mounts: readonly ContainerMount[],
  files: { source: string; target: string }[] = [],
) {
  const spec = fixture.spec(`mounts-${String((count += 1))}`, ['sh', '-c', `exec 2>&1; ${script}`], { mounts, files });
  const { exit, output } = await runToEnd(runtime, spec);
  return { code: exit.exitCode, lines: output.trim().split('\n') };
}

describe('mounts', () => {
  it('are written through to the host, unless they are read-only', async () => {
    const source = hostFolder('data');
    writeFileSync(join(source, 'seed'), 'from the host');
    const script = 'cat /vol/seed; echo; echo made > /vol/mine; echo no > /ro/other; echo code $?';
    const { lines } = await inside(script, [bind(source, '/vol'), bind(source, '/ro', true)]);
    expect(lines[0]).toBe('from the host');
    expect(lines.slice(1).join(' ')).toMatch(/Read-only file system.* code 1/);
    expect(readFileSync(join(source, 'mine'), 'utf8')).toBe('made\n');
    expect(existsSync(join(source, 'other'))).toBe(false);
  });

  it('lie in each other, whatever order they come in', async () => {
    const [outer, inner] = [hostFolder('outer'), hostFolder('inner')];
    writeFileSync(join(inner, 'deep'), '');
    const { lines } = await inside('ls /a /a/b', [bind(inner, '/a/b'), bind(outer, '/a')]);
    expect(lines).toEqual(['/a:', 'b', '', '/a/b:', 'deep']);
  });

  it('in memory have their size and mode, and run no programs', async () => {
    const mounts: ContainerMount[] = [
      { kind: 'tmpfs', target: '/mem', readOnly: false, mode: 0o750, sizeBytes: 65_536 },
    ];
    const script =
      'stat -c %a /mem; grep " /mem " /proc/mounts; dd if=/dev/zero of=/mem/x bs=1024 count=100; cp /bin/busybox /mem/b; /mem/b; echo code $?';
    const { lines } = await inside(script, mounts);
    expect(lines[0]).toBe('750');
    expect(lines[1]).toMatch(/^tmpfs \/mem tmpfs rw,nosuid,nodev,noexec,.*size=64k/);
    expect(lines.join('\n')).toContain('No space left on device');
    const ro = await inside('touch /mem/x; echo code $?', [
      { kind: 'tmpfs', target: '/mem', readOnly: true, mode: 0o1777 },
    ]);
    expect(ro.lines.join('\n')).toMatch(/Read-only file system[^]*code 1/);
  });

  it('that are files keep owner and mode, can be run, and cannot be changed', async () => {
    const source = join(hostFolder('files'), 'entry');
    writeFileSync(source, '#!/bin/sh\necho it runs\n', { mode: 0o555 });
    const script = '/usr/local/bin/entry; stat -c "%a %u" /run/secrets/t; echo x > /run/secrets/t; echo code $?';
    const files = [
      { source, target: '/usr/local/bin/entry' },
      { source, target: '/run/secrets/t' },
    ];
    const { lines } = await inside(script, [], files);
    expect(lines.slice(0, 2)).toEqual(['it runs', '555 0']);
    expect(lines.slice(2).join(' ')).toMatch(/Read-only file system.* code 1/);
    expect(readFileSync(source, 'utf8')).toContain('it runs');
  });

  it('take the place of files that the agent gives, and of the usual mounts', async () => {
    const own = join(hostFolder('own'), 'hosts');
    writeFileSync(own, 'mine\n');
    const shm = hostFolder('shm');
    writeFileSync(join(shm, 'here'), '');
    const files = [
      { source: join(hostFolder('agents'), 'hosts'), target: '/etc/hosts' },
      { source: own, target: '/etc/hosts' },
    ];
    writeFileSync(files[0]?.source ?? '', 'the agent’s\n');
    const { lines } = await inside('cat /etc/hosts; ls /dev/shm', [bind(shm, '/dev/shm')], files);
    expect(lines).toEqual(['mine', 'here']);
  });

  it('are made within the image’s root, wherever its symlinks point', async () => {
    const outside = hostFolder('outside');
    const links = [
      ['absolute', outside],
      ['upward', `../../../../../../../../../../..${outside}`],
    ] as const;
    const source = hostFolder('source');
    writeFileSync(join(source, 'mounted'), '');
    try {
      for (const [name, target] of links) {
        symlinkSync(target, join(fixture.rootfs, name));
        const { lines, code } = await inside(`ls /${name}/new`, [bind(source, `/${name}/new`)]);
        expect([code, lines]).toEqual([0, ['mounted']]);
        expect(existsSync(join(outside, 'new'))).toBe(false);
      }
    } finally {
      for (const [name] of links) rmSync(join(fixture.rootfs, name), { force: true });
    }
  });
});
