import { describe, expect, it } from 'vitest';
import { formatCidr, freeSubnet, overlaps, parseCidr } from '../../../controller/network/subnets.ts';

describe('subnets', () => {
  it('gives each node the first free part of the pool', () => {
    expect(freeSubnet('10.64.0.0/12', [])).toBe('10.64.0.0/24');
    expect(freeSubnet('10.64.0.0/12', ['10.64.0.0/24', '10.64.2.0/24'])).toBe('10.64.1.0/24');
  });

  it('says when the pool is used up', () => {
    expect(() => freeSubnet('10.64.0.0/23', ['10.64.0.0/24', '10.64.1.0/24'])).toThrow(/no \/24 left/);
  });

  it('reads networks and refuses what is none', () => {
    expect(formatCidr(parseCidr('192.168.128.0/17'))).toBe('192.168.128.0/17');
    for (const wrong of ['10.0.0.1/8', '10.0.0.0/33', '300.0.0.0/8', '10.0.0.0', 'x']) {
      expect(() => parseCidr(wrong), wrong).toThrow(/is not an IPv4 network|host bits/);
    }
  });

  it('sees overlaps both ways', () => {
    const at = (text: string) => parseCidr(text);
    expect(overlaps(at('10.64.0.0/12'), at('10.79.255.0/24'))).toBe(true);
    expect(overlaps(at('10.79.255.0/24'), at('10.64.0.0/12'))).toBe(true);
    expect(overlaps(at('10.64.0.0/12'), at('10.80.0.0/16'))).toBe(false);
  });
});
