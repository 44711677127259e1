import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressOfVeth,
  contains,
  formatSubnet,
  macOf,
  nextAddress,
  overlayAddress,
  parseSubnet,
  vethName,
} from '../../../agent/network/addresses.ts';

describe('addresses of containers', () => {
  it.each(['10.64.1.0', '10.64.1.0/33', '10.64.1/24', 'fd00::/8', '10.64.1.0/24; reboot', ''])('refuses %j', (text) => {
    expect(() => parseSubnet(text)).toThrow(expect.objectContaining({ code: 'invalid' }));
  });

  it('gives the node the first, containers those from .2 on, and the broadcast address to nobody', () => {
    const subnet = parseSubnet('10.64.1.0/29');
    expect(overlayAddress(subnet)).toBe('10.64.1.1');
    const taken = new Set<string>();
    for (const expected of ['10.64.1.2', '10.64.1.3', '10.64.1.4', '10.64.1.5', '10.64.1.6']) {
      expect(nextAddress(subnet, taken, undefined)).toBe(expected);
      taken.add(expected);
    }
    expect(() => nextAddress(subnet, taken, undefined)).toThrow(
      expect.objectContaining({ code: 'exhausted', message: expect.stringContaining('10.64.1.0/29') as string }),
    );
  });

  it('goes round before it gives a freed address again', () => {
    const subnet = parseSubnet('10.64.1.0/29');
    expect(nextAddress(subnet, new Set(), '10.64.1.4')).toBe('10.64.1.5');
    expect(nextAddress(subnet, new Set(), '10.64.1.6')).toBe('10.64.1.2');
    expect(nextAddress(subnet, new Set(['10.64.1.5', '10.64.1.6']), '10.64.1.4')).toBe('10.64.1.2');
    expect(nextAddress(subnet, new Set(), '192.168.0.9')).toBe('10.64.1.2');
  });

  it('never gives one that is taken, outside the subnet, the node’s own or the broadcast address', () => {
    const subnet = parseSubnet('10.64.255.224/27');
    fc.assert(
      fc.property(fc.array(fc.constantFrom('take', 'free'), { maxLength: 120 }), (operations) => {
        const taken: string[] = [];
        let cursor: string | undefined;
        for (const operation of operations) {
          if (operation === 'free') taken.shift();
          else if (taken.length < 29) {
            const given = nextAddress(subnet, new Set(taken), cursor);
            expect(taken).not.toContain(given);
            expect(given).not.toBe(cursor);
            expect(contains(subnet, given)).toBe(true);
            expect(['10.64.255.224', '10.64.255.225', '10.64.255.255']).not.toContain(given);
            taken.push(given);
            cursor = given;
          }
        }
      }),
    );
  });

  it('names devices and MACs after them, and reads the names back', () => {
    expect(vethName('10.64.0.254')).toBe('frv0a4000fe');
    expect(macOf('10.64.0.254')).toBe('02:fa:0a:40:00:fe');
    expect(addressOfVeth('frv0a4000fe')).toBe('10.64.0.254');
    for (const other of ['eth0', 'frv', 'frv0a4000f', 'frv0a4000fe1', 'veth0a4000fe']) {
      expect(addressOfVeth(other)).toBeUndefined();
    }
  });

  it('clears host bits', () => {
    expect(formatSubnet(parseSubnet('10.64.1.77/24'))).toBe('10.64.1.0/24');
    expect(formatSubnet(parseSubnet('255.255.255.255/32'))).toBe('255.255.255.255/32');
    expect(formatSubnet(parseSubnet('0.0.0.0/0'))).toBe('0.0.0.0/0');
  });
});
