import { describe, expect, it } from 'vitest';
import { hierarchiesIn } from '../../../cli/local/cgroups.ts';
import { mountsBelow } from '../../../cli/local/mounts.ts';
import { logFileOf } from '../../../cli/local/parts.ts';
import { addressesIn, bridgeMac, hostLinkOf, placeOf } from '../../../cli/local/place.ts';
import { pickSubnet, rangeOf } from '../../../cli/local/subnet.ts';
import { summaryText } from '../../../cli/local/tour/summary.ts';

describe('names of a local cluster', () => {
  it('follow from its name', () => {
    const place = placeOf('local', {});
    expect(place).toMatchObject({
      stateFolder: '/var/lib/frota/clusters/local',
      runFolder: '/run/frota/local',
      cgroup: '/frota/local',
      bridge: 'frota-local',
      table: 'frota_local',
    });
    expect(hostLinkOf(place, 'n1')).toBe('ve-local-n1');
    expect(bridgeMac(place)).toMatch(/^02(:[0-9a-f]{2}){5}$/);
  });

  it('fit into an interface name however long it is', () => {
    const place = placeOf('a-very-long-cluster-name', { FROTA_STATE_DIR: '/srv/frota' });
    expect(place.stateFolder).toBe('/srv/frota/clusters/a-very-long-cluster-name');
    for (const link of [place.bridge, hostLinkOf(place, 'n100')]) {
      expect(link.length).toBeLessThanOrEqual(15);
      expect(link).toMatch(/[0-9a-f]{6}/);
    }
    expect(hostLinkOf(place, 'n100')).not.toBe(hostLinkOf(placeOf('a-very-long-cluster-names', {}), 'n100'));
  });

  it('give every machine its address', () => {
    const addresses = addressesIn('10.89.7.0/24');
    expect([
      addresses.host,
      addresses.controller,
      addresses.of('c1'),
      addresses.of('n1'),
      addresses.of('n100'),
    ]).toEqual(['10.89.7.1', '10.89.7.10', '10.89.7.10', '10.89.7.11', '10.89.7.110']);
    expect(addresses.registry).toBe('10.89.7.1:5000');
  });
});

describe('logs', () => {
  it('lie in the folder of their program', () => {
    const place = placeOf('local', {});
    const relative = (id: string): string => logFileOf(place, id).slice(place.stateFolder.length + 1);
    expect(['supervisor', 'registry', 'c1', 'n2'].map(relative)).toEqual([
      'supervisor/supervisor.log',
      'registry/registry.log',
      'controller/controller.log',
      'n2/agent.log',
    ]);
  });
});

describe('subnets', () => {
  it.each([
    ['local', [], '10.89.0.0/24'],
    ['other', [], '10.89.1.0/24'],
    ['other', ['10.89.1.0/24', '10.89.3.7'], '10.89.2.0/24'],
    ['other', ['10.89.0.0/22'], '10.89.4.0/24'],
    ['other', ['10.89.1.200', '127.0.0.0/8'], '10.89.2.0/24'],
  ])('%s beside %j gets %s', (name, taken, expected) => {
    expect(pickSubnet(name, taken)).toBe(expected);
  });

  it('refuses when its own or all are taken', () => {
    expect(() => pickSubnet('local', ['10.0.0.0/8'])).toThrow(/10\.89\.0\.0\/24.*used by something else/);
    expect(() => pickSubnet('other', ['10.0.0.0/8'])).toThrow(/no free subnet/);
  });

  it('reads ranges', () => {
    expect(rangeOf('10.89.1.5')).toEqual({ first: 173605125, last: 173605125 });
    expect(rangeOf('0.0.0.0/0')).toEqual({ first: 0, last: 4294967295 });
    expect(() => rangeOf('fd00::/8')).toThrow(/no IPv4 range/);
  });
});

describe('what the kernel says', () => {
  it('mounts below a folder, the last first, escapes undone', () => {
    const mountinfo = [
      '22 1 254:0 / / rw - ext4 /dev/vda rw',
      '30 22 0:30 / /run/frota/a rw - tmpfs none rw',
      '31 30 0:31 / /run/frota/a/with\\040space rw - overlay none rw',
      '32 22 0:32 / /run/frota/ab rw - tmpfs none rw',
    ].join('\n');
    expect(mountsBelow(mountinfo, '/run/frota/a')).toEqual(['/run/frota/a/with space', '/run/frota/a']);
  });

  it('cgroup hierarchies of v1, hybrid and v2', () => {
    const hybrid = [
      '31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct',
      '32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd',
      '33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
      '34 30 0:27 / /elsewhere/cpu rw - cgroup cgroup rw,cpu,cpuacct',
      '35 30 0:27 /docker/x /bound rw - cgroup cgroup rw,memory',
    ].join('\n');
    expect(hierarchiesIn(hybrid)).toEqual([
      { mountPoint: '/sys/fs/cgroup/cpu,cpuacct', version: 1, controllers: ['cpu', 'cpuacct'] },
      { mountPoint: '/sys/fs/cgroup/systemd', version: 1, controllers: ['name=systemd'] },
      { mountPoint: '/sys/fs/cgroup/unified', version: 2, controllers: [] },
    ]);
    expect(hierarchiesIn('26 23 0:24 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate')).toEqual([
      { mountPoint: '/sys/fs/cgroup', version: 2, controllers: [] },
    ]);
  });
});

describe('the summary of npm start', () => {
  it('names nodes, services, addresses and what to try', () => {
    const text = summaryText({
      up: {
        name: 'local',
        controller: '10.89.0.10:7400',
        registry: '10.89.0.1:5000',
      },
      nodes: [
        {
          id: 'x',
          name: 'n1',
          state: 'ready',
          availability: 'active',
          address: '10.89.0.11',
          capacity: { cpuMillis: 2000, memoryBytes: 1 },
          reserved: { cpuMillis: 0, memoryBytes: 0 },
          tasks: 2,
          since: '2026-01-01T00:00:00.000Z',
          labels: {},
          notes: [],
        },
      ],
      services: [
        {
          stack: 'hello',
          name: 'web',
          mode: 'replicated',
          image: '10.89.0.1:5000/hello/web:1',
          replicas: { desired: 3, running: 3 },
          ports: [{ target: 8080, published: 8080, protocol: 'tcp' }],
          rollout: null,
        },
      ],
      program: 'bin/frota',
      page: '{"count":1}',
    });
    expect(text).toContain('  n1  10.89.0.11  ready  2 tasks\n');
    expect(text).toContain('  hello/web  3/3 running  10.89.0.1:5000/hello/web:1\n');
    expect(text).toContain('  hello/web  http://10.89.0.11:8080/\n');
    expect(text).toContain('  bin/frota scale hello/web=5 --wait\n');
    expect(text).toContain('  bin/frota logs -f hello ');
  });
});
