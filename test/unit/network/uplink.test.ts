import { describe, expect, it } from 'vitest';
import type { RouteJson } from '../../../agent/network/overlay-reading.ts';
import { decideUplink, findUplink, observeUplink, routeFingerprint, routeLine } from '../../../agent/network/uplink.ts';
import type { ObservedUplink, RememberedUplink } from '../../../agent/network/uplink.ts';

const gateway: RouteJson = { dst: 'default', gateway: '192.168.0.254', dev: 'eth0', protocol: 'static', flags: [] };
const office: RouteJson = { dst: '172.16.0.0/12', gateway: '192.168.0.253', dev: 'eth0', metric: 100, flags: [] };
const where = { bootId: 'boot', namespace: 'net:[1]' };
const identity = { ...where, device: 'eth0', ifindex: 2 };
const observed = (change: Partial<ObservedUplink>): ObservedUplink => ({
  ...{ identity, up: true, mtu: 1500, carrierChanges: 2, routes: [gateway, office] },
  ...change,
});
const remembered: RememberedUplink = { version: 1, identity, carrierChanges: 2, routes: [gateway, office] };

describe('the uplink', () => {
  it('is remembered at first sight, and learns nothing while it is down', () => {
    expect(decideUplink(undefined, observed({}), false)).toEqual({ restore: [], remember: remembered });
    expect(decideUplink(remembered, observed({ up: false, routes: [] }), true)).toEqual({ restore: [] });
  });

  it('gets back what went with the link: seen down, or told by the kernel’s count', () => {
    for (const [carrierChanges, seenDown] of [
      [2, true],
      [4, false],
    ] as const) {
      expect(decideUplink(remembered, observed({ carrierChanges, routes: [office] }), seenDown)).toEqual({
        restore: [gateway],
        remember: { ...remembered, carrierChanges, routes: [office, gateway] },
      });
    }
  });

  it('keeps what people did: a route removed, another gateway set', () => {
    expect(decideUplink(remembered, observed({ routes: [gateway] }), false)).toEqual({
      restore: [],
      remember: { ...remembered, routes: [gateway] },
    });
    const other = { ...gateway, gateway: '192.168.0.1' };
    const decision = decideUplink(remembered, observed({ carrierChanges: 4, routes: [other] }), false);
    expect(decision.restore).toEqual([office]);
    expect(decision.remember?.routes).toEqual([other, office]);
  });

  it('forgets another boot, namespace or device', () => {
    for (const change of [{ bootId: 'x' }, { namespace: 'net:[2]' }, { device: 'eth1' }, { ifindex: 3 }]) {
      const now = observed({ identity: { ...identity, ...change }, carrierChanges: 9, routes: [] });
      expect(decideUplink(remembered, now, false).restore).toEqual([]);
    }
  });

  it('is the device with the node’s address, or that of the default route', () => {
    const link = (ifname: string, local: string) => ({
      ...{ ifindex: 2, ifname, flags: ['UP', 'LOWER_UP'], mtu: 1500 },
      addr_info: [{ family: 'inet', local, prefixlen: 24 }],
    });
    const reading = {
      links: [link('frota0', '10.0.0.9'), link('eth0', '192.168.0.1'), link('eth1', '10.0.0.9')],
      neighbours: [],
      routes: [gateway, { dst: '192.168.0.0/24', dev: 'eth0', protocol: 'kernel' }, { ...office, dev: 'eth1' }],
    };
    expect(findUplink(reading, '10.0.0.9')?.ifname).toBe('eth1');
    expect(findUplink(reading, '203.0.113.5')?.ifname).toBe('eth0');
    expect(observeUplink(reading.links[1]!, reading.routes, where)).toEqual(
      observed({ carrierChanges: 0, routes: [gateway] }),
    );
  });

  it('writes routes as iproute2 reads them', () => {
    expect(routeLine(gateway)).toBe('route add default via 192.168.0.254 dev eth0 proto static');
    expect(routeLine({ ...office, scope: 'link', prefsrc: '192.168.0.1', flags: ['onlink'] })).toBe(
      'route add 172.16.0.0/12 via 192.168.0.253 dev eth0 scope link src 192.168.0.1 metric 100 onlink',
    );
  });

  it('looks only at its own lines of the kernel’s table', () => {
    const table = 'Iface\tDestination\neth0\t00000000\t0100A8C0\neth01\t1\nfrv0a\t0202400A\n';
    expect(routeFingerprint(table, 'eth0')).toBe('eth0\t00000000\t0100A8C0');
  });
});
