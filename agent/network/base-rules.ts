/** PURE: the fixed part of table `ip frota`: where packets meet the services, and what is never let through. */
import { formatSubnet, overlayAddress, parseSubnet, vethPrefix } from './addresses.ts';
import { overlayDevice } from './overlay.ts';

/** The one table that is ours; others are never touched. */
export const ruleTable = 'ip frota';

/** Where connections that nothing serves end: refused at once, never left to time out. */
export const refusalChain = 'refuse';

export interface BaseSettings {
  readonly containerPool: string;
  readonly vipPool: string;
  readonly nodeSubnet: string;
}

/**
 * Replaces the whole table in one transaction: connections that are established keep their translation, and no
 * packet meets half a table.
 */
export function baseTable(settings: BaseSettings): string {
  const containers = formatSubnet(parseSubnet(settings.containerPool));
  const vips = formatSubnet(parseSubnet(settings.vipPool));
  const subnet = parseSubnet(settings.nodeSubnet);
  const own = formatSubnet(subnet);
  const node = overlayAddress(subnet);
  const veths = `"${vethPrefix}*"`;
  const overlay = `"${overlayDevice}"`;
  // In chain `sent` a translated packet still carries the device of its first route: only untranslated ones are judged.
  const dispatch = `ip daddr vmap @vips
    fib daddr type local meta l4proto . th dport vmap @published`;
  return `add table ${ruleTable}
delete table ${ruleTable}
table ${ruleTable} {
  map vips { type ipv4_addr : verdict; }
  map published { type inet_proto . inet_service : verdict; }
  set hairpins { type ipv4_addr . ipv4_addr; }
  chain ${refusalChain} {
    meta l4proto tcp reject with tcp reset
    reject with icmp type port-unreachable
  }
  chain guard {
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
    iifname ${veths} fib saddr . iif oif missing drop
  }
  chain dispatch-arriving {
    type nat hook prerouting priority -100; policy accept;
    ${dispatch}
  }
  chain dispatch-own {
    type nat hook output priority -100; policy accept;
    ${dispatch}
  }
  chain sources {
    type nat hook postrouting priority 100; policy accept;
    ip saddr . ip daddr @hairpins snat to ${node}
    oifname ${overlay} ip saddr != ${containers} snat to ${node}
    oifname ${veths} ip saddr 127.0.0.0/8 snat to ${node}
    ip saddr ${own} oifname != ${overlay} oifname != ${veths} masquerade
  }
  chain forwarded {
    type filter hook forward priority 0; policy accept;
    oifname ${overlay} ip daddr ${vips} goto ${refusalChain}
    oifname ${overlay} ip daddr ${own} goto ${refusalChain}
    ip daddr ${containers} oifname != ${overlay} oifname != ${veths} goto ${refusalChain}
    oifname ${veths} iifname != ${overlay} iifname != ${veths} ct state new ct status & dnat == 0 drop
  }
  chain sent {
    type filter hook output priority 0; policy accept;
    oifname ${overlay} ip daddr ${vips} goto ${refusalChain}
    oifname ${overlay} ip daddr ${own} ct status & dnat == 0 goto ${refusalChain}
  }
}
`;
}
