import { describe, expect, it } from 'vitest';
import { observedOverlay, parseForwarding, parseReading } from '../../../agent/network/overlay-reading.ts';
import { noOverlay, overlayChanges, wantedOverlay } from '../../../agent/network/overlay.ts';
import type { ObservedOverlay, OverlaySettings } from '../../../agent/network/overlay.ts';
import type { NetworkUnit, Peer } from '../../../proto/domain/assignment.ts';

const peer = (index: number, address = `192.168.0.${index}`): Peer => ({
  nodeId: `id${index}`,
  name: `n${index}`,
  address,
  subnet: `10.64.${index}.0/24`,
});
const unit = (...peers: readonly Peer[]): NetworkUnit => ({
  kind: 'network',
  containerPool: '10.64.0.0/12',
  vipPool: '10.96.0.0/16',
  peers,
  internal: [],
});
const settings: OverlaySettings = { nodeSubnet: '10.64.1.0/24', vni: 42, port: 4789, mtu: 1450, local: '192.168.0.1' };

/** As iproute2 6.1 prints it once the overlay of nodes 1 and 2 is made. */
const reading = [
  [
    { ifindex: 2, ifname: 'eth0', flags: ['UP', 'LOWER_UP'], mtu: 1500, addr_info: [] },
    {
      ...{
        ifindex: 3,
        ifname: 'frota0',
        flags: ['BROADCAST', 'UP', 'LOWER_UP'],
        mtu: 1450,
        address: '02:fa:0a:40:01:01',
      },
      linkinfo: { info_kind: 'vxlan', info_data: { id: 42, local: '192.168.0.1', port: 4789, learning: false } },
      addr_info: [
        { family: 'inet', local: '10.64.1.1', prefixlen: 32 },
        { family: 'inet6', local: 'fe80::1', prefixlen: 64 },
      ],
    },
  ],
  [
    { dst: '10.64.2.1', dev: 'frota0', lladdr: '02:fa:0a:40:02:01', state: ['PERMANENT'] },
    { dst: '10.64.1.2', dev: 'frv0a400102', lladdr: '02:fa:0a:40:01:02', state: ['PERMANENT'] },
  ],
  [
    { dst: 'default', gateway: '192.168.0.254', dev: 'eth0', flags: [] },
    { dst: '10.64.1.0/24', dev: 'frota0', scope: 'link', prefsrc: '10.64.1.1', flags: [] },
    { dst: '10.64.2.0/24', gateway: '10.64.2.1', dev: 'frota0', prefsrc: '10.64.1.1', flags: ['onlink'] },
    { dst: '10.96.0.0/16', dev: 'frota0', scope: 'link', prefsrc: '10.64.1.1', flags: [] },
  ],
]
  .map((array) => `${JSON.stringify(array)}\n`)
  .join('');
const forwarding = JSON.stringify([
  { mac: '02:fa:0a:40:02:01', ifname: 'frota0', dst: '192.168.0.2', flags: ['self'], state: 'permanent' },
]);
const made = (): ObservedOverlay => observedOverlay(parseReading(reading), parseForwarding(forwarding));

describe('the overlay', () => {
  it('is made from nothing', () => {
    expect(overlayChanges(wantedOverlay(unit(peer(1), peer(2)), settings), noOverlay)).toEqual({
      ip: [
        'link add frota0 address 02:fa:0a:40:01:01 mtu 1450 type vxlan id 42 local 192.168.0.1 dstport 4789 nolearning',
        'link set dev frota0 addrgenmode none',
        'link set dev frota0 up',
        'address add 10.64.1.1/32 dev frota0',
        'neighbour replace 10.64.2.1 lladdr 02:fa:0a:40:02:01 dev frota0 nud permanent',
        'route replace 10.96.0.0/16 dev frota0 src 10.64.1.1',
        'route replace 10.64.1.0/24 dev frota0 src 10.64.1.1',
        'route replace 10.64.2.0/24 via 10.64.2.1 dev frota0 onlink src 10.64.1.1',
      ],
      bridge: ['fdb append 02:fa:0a:40:02:01 dev frota0 dst 192.168.0.2 self permanent'],
    });
  });

  it('is left alone when it is right', () => {
    expect(overlayChanges(wantedOverlay(unit(peer(1), peer(2)), settings), made())).toEqual({ ip: [], bridge: [] });
  });

  it('takes a node in and another out', () => {
    expect(overlayChanges(wantedOverlay(unit(peer(1), peer(3)), settings), made())).toEqual({
      ip: [
        'route delete 10.64.2.0/24 dev frota0',
        'neighbour delete 10.64.2.1 dev frota0',
        'neighbour replace 10.64.3.1 lladdr 02:fa:0a:40:03:01 dev frota0 nud permanent',
        'route replace 10.64.3.0/24 via 10.64.3.1 dev frota0 onlink src 10.64.1.1',
      ],
      bridge: [
        'fdb delete 02:fa:0a:40:02:01 dev frota0 dst 192.168.0.2 self',
        'fdb append 02:fa:0a:40:03:01 dev frota0 dst 192.168.0.3 self permanent',
      ],
    });
  });

  it('follows a node that moved, a smaller MTU, and a device that went down', () => {
    const moved = overlayChanges(wantedOverlay(unit(peer(1), peer(2, '192.168.0.99')), settings), made());
    expect(moved).toEqual({
      ip: [],
      bridge: [
        'fdb delete 02:fa:0a:40:02:01 dev frota0 dst 192.168.0.2 self',
        'fdb append 02:fa:0a:40:02:01 dev frota0 dst 192.168.0.99 self permanent',
      ],
    });
    const observed = made();
    const down = { ...observed, device: { ...observed.device!, up: false } };
    expect(overlayChanges(wantedOverlay(unit(peer(1), peer(2)), { ...settings, mtu: 1350 }), down).ip).toEqual([
      'link set dev frota0 mtu 1350',
      'link set dev frota0 up',
    ]);
  });

  it('is made anew when the tunnel itself is another', () => {
    const changes = overlayChanges(wantedOverlay(unit(peer(1), peer(2)), { ...settings, local: undefined }), made());
    expect(changes.ip[0]).toBe('link delete dev frota0');
    expect(changes.ip[1]).toBe(
      'link add frota0 address 02:fa:0a:40:01:01 mtu 1450 type vxlan id 42 dstport 4789 nolearning',
    );
    expect(changes.ip).toHaveLength(9);
    expect(changes.bridge).toHaveLength(1);
  });

  it('takes nothing into a command that is no address', () => {
    const wrong = { ...peer(2), address: '192.168.0.2\nlink delete dev eth0' };
    expect(() => wantedOverlay(unit(wrong), settings)).toThrow(expect.objectContaining({ code: 'invalid' }));
  });

  it('says when iproute2 prints something else', () => {
    for (const output of ['', '[]\n[]\n', 'Dump terminated\n', '{}\n[]\n[]\n']) {
      expect(() => parseReading(output), output).toThrow(expect.objectContaining({ code: 'unsupported' }));
    }
  });
});
