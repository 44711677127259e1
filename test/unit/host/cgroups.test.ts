import { describe, expect, it } from 'vitest';
import {
  cgroupFolders,
  controllerFolder,
  parseCgroupLayout,
  parseOomKills,
  type CgroupLayout,
} from '../../../agent/host/cgroups.ts';
import { FrotaError } from '../../../proto/base/errors.ts';

/** Debian 12 with systemd. */
const v2 = `21 28 0:20 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
24 23 0:22 / /sys/kernel/security rw,nosuid,nodev,noexec,relatime shared:7 - securityfs securityfs rw
27 23 0:25 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:8 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
`;
/** CentOS 7: controllers share hierarchies, a named one for systemd. */
const v1 = `25 18 0:20 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:8 - tmpfs tmpfs ro,mode=755
26 25 0:21 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:9 - cgroup cgroup rw,xattr,release_agent=/usr/lib/systemd/systemd-cgroups-agent,name=systemd
29 25 0:23 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,memory
30 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:12 - cgroup cgroup rw,cpu,cpuacct
31 25 0:25 / /sys/fs/cgroup/freezer rw,nosuid,nodev,noexec,relatime shared:13 - cgroup cgroup rw,freezer
`;
/** A machine without systemd, one hierarchy for each controller and the v2 tree beside them. */
const hybrid = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`;

const folders = (layout: CgroupLayout): readonly string[] => [...cgroupFolders(layout, '/frota/agent')].sort();

describe('parseCgroupLayout', () => {
  it('knows v2', () => {
    const layout = parseCgroupLayout(v2);
    expect(layout.kind).toBe('v2');
    expect(folders(layout)).toEqual(['/sys/fs/cgroup/frota/agent']);
    expect(controllerFolder(layout, 'memory', '/frota')).toBe('/sys/fs/cgroup/frota');
  });

  it('knows v1, where one hierarchy may carry several controllers', () => {
    const layout = parseCgroupLayout(v1);
    expect(layout.kind).toBe('v1');
    expect([...layout.controllers.keys()].sort()).toEqual(['cpu', 'cpuacct', 'freezer', 'memory', 'name=systemd']);
    expect(folders(layout)).toEqual([
      '/sys/fs/cgroup/cpu,cpuacct/frota/agent',
      '/sys/fs/cgroup/freezer/frota/agent',
      '/sys/fs/cgroup/memory/frota/agent',
      '/sys/fs/cgroup/systemd/frota/agent',
    ]);
    expect(controllerFolder(layout, 'cpuacct', '/a')).toBe('/sys/fs/cgroup/cpu,cpuacct/a');
    expect(controllerFolder(layout, 'pids', '/a')).toBeUndefined();
  });

  it('knows the hybrid', () => {
    const layout = parseCgroupLayout(hybrid);
    expect(layout.kind).toBe('hybrid');
    expect(layout.unified).toBe('/sys/fs/cgroup/unified');
    expect(controllerFolder(layout, 'memory', '/a')).toBe('/sys/fs/cgroup/memory/a');
    expect(folders(layout)).toContain('/sys/fs/cgroup/unified/frota/agent');
    expect(folders(layout)).toHaveLength(5);
  });

  it('refuses a host without any', () => {
    expect(() => parseCgroupLayout('28 1 8:1 / / rw - ext4 /dev/vda1 rw\n')).toThrow(FrotaError);
  });
});

describe('parseOomKills', () => {
  it.each([
    ['v2', 'low 0\nhigh 0\nmax 37\noom 2\noom_kill 1\noom_group_kill 0\n', 1],
    ['v1', 'oom_kill_disable 0\nunder_oom 0\noom_kill 3\n', 3],
    ['v1 before Linux 4.13', 'oom_kill_disable 0\nunder_oom 0\n', undefined],
    ['gone', '', undefined],
  ])('%s', (_name, text, count) => {
    expect(parseOomKills(text)).toBe(count);
  });
});
