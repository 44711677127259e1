/** PURE: the fixed part of table `ip frota`: where packets meet services and networks, and what is never let through. */
import { formatSubnet, overlayAddress, parseSubnet, vethPrefix } from './addresses.ts';
import { overlayDevice } from './overlay.ts';

/** The one table that is ours; others are never touched. */
export const ruleTable = 'ip frota';

/** Where connections that nothing serves end: refused at once, never left to time out. */
export const refusalChain = 'refuse';
/** Where the agent's name server answers, at the node's address in the cluster network. */
const nameServerPort = 53;

/** What a container sends to no member of its networks; the other one is for containers without a way out. */
export const elsewhereChain = 'elsewhere';
export const confinementChain = 'confinement';
/** What arrives from another node and comes from no known member of the receiver's networks. */
export const strangersChain = 'strangers';

export interface BaseSettings {
  readonly containerPool: string;
  readonly vipPool: string;
  readonly nodeSubnet: string;
}

/**
 * What a container's map entry leads to decides about its new connections; those that stand are not judged again, so
 * that requests may finish when their endpoint leaves. A published port is for everybody with a way out of the
 * cluster: where its endpoint is on another node the connection goes on under this node's name, as one from outside.
 *
 * Replaces the whole table in one transaction: connections that are established keep their translation, and no
 * packet meets half a table.
 */
export function baseTable(settings: BaseSettings): string {
  const subnet = parseSubnet(settings.nodeSubnet);
  const places: Places = {
    containers: formatSubnet(parseSubnet(settings.containerPool)),
    vips: formatSubnet(parseSubnet(settings.vipPool)),
    own: formatSubnet(subnet),
    node: overlayAddress(subnet),
  };
  return `add table ${ruleTable}
delete table ${ruleTable}
table ${ruleTable} {
${elementTypes}
${judgements(places)}
${translations(places)}
${filters(places)}
}
`;
}

/** As nft writes them. */
interface Places {
  /** All containers of the cluster. */
  readonly containers: string;
  readonly vips: string;
  /** The containers of this node. */
  readonly own: string;
  /** The node itself. */
  readonly node: string;
}

const veths = `"${vethPrefix}*"`;
const overlay = `"${overlayDevice}"`;
/** Whom a connection was for, before any translation. */
const asked = 'ct original ip daddr';

const toNameServer = `meta l4proto { tcp, udp } th dport ${nameServerPort}`;
const fromNameServer = `meta l4proto { tcp, udp } th sport ${nameServerPort}`;
/** Within the message the packet that could not be delivered begins after 8 bytes, its UDP port stands at 22. */
const aboutNameServer = `@th,240,16 ${nameServerPort}`;

const elementTypes = `  map vips { type ipv4_addr : verdict; }
  map published { type inet_proto . inet_service : verdict; }
  set hairpins { type ipv4_addr . ipv4_addr; }
  map senders { type ipv4_addr : verdict; }
  map receivers { type ipv4_addr : verdict; }
  set confined { type ipv4_addr; }
  set members { type ipv4_addr; }`;

/** Where chains of containers lead to. */
const judgements = ({ containers, vips }: Places): string => `  chain ${refusalChain} {
    meta l4proto tcp reject with tcp reset
    reject with icmp type port-unreachable
  }
  chain ${elsewhereChain} {
    ct status & dnat != 0 ${asked} != ${vips} accept
    ip daddr ${containers} goto ${refusalChain}
    accept
  }
  chain ${confinementChain} {
    ip daddr ${containers} goto ${refusalChain}
    reject with icmp type net-unreachable
  }
  chain ${strangersChain} {
    ip saddr @members drop
    accept
  }`;

function translations({ containers, vips, own, node }: Places): string {
  // In chain `sent` a translated packet still carries the device of its first route: only untranslated ones are judged.
  const dispatch = `ip daddr vmap @vips
    fib daddr type local meta l4proto . th dport vmap @published`;
  return `  chain dispatch-arriving {
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
    oifname ${overlay} ct status & dnat != 0 ${asked} != ${vips} snat to ${node}
    oifname ${veths} ip saddr 127.0.0.0/8 snat to ${node}
    ip saddr ${own} oifname != ${overlay} oifname != ${veths} masquerade
  }`;
}

/**
 * The node's name server is for its own containers. Its questions are not tracked: ten thousand a second would fill
 * the kernel's table of connections. While the agent is away the kernel must not say so, or the C library gives up
 * within a millisecond instead of asking again a second later: what it would say names the port it was asked for.
 */
const filters = ({ containers, vips, own, node }: Places): string => `  chain guard {
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
    iifname { ${overlay}, ${veths} } fib saddr . iif oif missing drop
    iifname ${overlay} ip saddr { ${vips}, ${own} } drop
    iifname ${veths} ip daddr ${node} ${toNameServer} notrack
  }
  chain names {
    type filter hook output priority raw; policy accept;
    oifname ${veths} ip saddr ${node} ${fromNameServer} notrack
  }
  chain received {
    type filter hook input priority 0; policy accept;
    ip daddr ${node} ${toNameServer} iifname ${veths} accept
    ip daddr ${node} ${toNameServer} drop
    ct state established,related accept
    iifname ${veths} ip saddr @confined reject with icmp type net-unreachable
  }
  chain forwarded {
    type filter hook forward priority 0; policy accept;
    oifname ${overlay} ip daddr ${vips} goto ${refusalChain}
    oifname ${overlay} ip daddr ${own} goto ${refusalChain}
    ip daddr ${containers} oifname != ${overlay} oifname != ${veths} goto ${refusalChain}
    ct state established,related accept
    iifname ${veths} ip saddr vmap @senders
    iifname ${veths} goto ${refusalChain}
    iifname ${overlay} oifname ${veths} ip daddr vmap @receivers
    iifname ${overlay} drop
    oifname { ${overlay}, ${veths} } ${asked} { ${vips}, ${containers} } drop
  }
  chain sent {
    type filter hook output priority 0; policy accept;
    oifname ${veths} ip saddr ${node} icmp type destination-unreachable ${aboutNameServer} drop
    oifname ${overlay} ip daddr ${vips} goto ${refusalChain}
    oifname ${overlay} ip daddr ${own} ct status & dnat == 0 goto ${refusalChain}
  }`;
