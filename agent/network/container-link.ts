/**
 * PURE: what makes a container's place in the network. A routed veth with a /32 address, no bridge: the container
 * sees one link and a gateway, the node has one host route, and clients keep their addresses.
 */
import { FrotaError } from '../../proto/base/errors.ts';
import { gatewayAddress, gatewayMac, macOf, vethName } from './addresses.ts';

export interface ContainerLink {
  /** Name of the namespace, as `ip netns` knows it. */
  readonly namespace: string;
  readonly address: string;
  readonly mtu: number;
}

/** Which parts the kernel has already. */
export interface LinkParts {
  readonly namespace: boolean;
  readonly veth: boolean;
}

/** Where `ip netns` keeps its names. */
export const namespaceFolder = '/run/netns';
export const namespacePath = (name: string): string => `${namespaceFolder}/${name}`;

/** No dot, so that `a.b` is task `b` of prefix `a` and of nobody else; safe in a shell and in a path. */
const prefixPattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$/;
const taskIdPattern = /^[A-Za-z0-9_-]{1,64}$/;

/** What the names of all namespaces of this node's containers begin with. */
export function namespaceStem(namePrefix: string): string {
  if (!prefixPattern.test(namePrefix)) {
    throw new FrotaError('invalid', `'${namePrefix}' can't name namespaces: letters, digits, '_' and '-', 80 at most`);
  }
  return `frota-${namePrefix}.`;
}

export function namespaceName(stem: string, taskId: string): string {
  if (!taskIdPattern.test(taskId)) throw new FrotaError('invalid', `'${taskId}' is not a task id`);
  return `${stem}${taskId}`;
}

/**
 * A shell script, for `sh -e` in the node's namespace: one process to start instead of six, which is what an attach costs
 * (a fork of the agent takes several times as long as one of the shell). Every value in it was parsed or matched before; none
 * is quoted. With `forget` it also forgets the connections of whoever had the address before, which would be taken for this
 * container's; what keeps it from that is written to standard output and does not fail it.
 */
export function attachScript(link: ContainerLink, existing: LinkParts, forget: boolean): string {
  const lines = [
    ...(forget ? forgetLines(link.address) : []),
    "ip -batch - <<'HOST'",
    ...(existing.namespace ? [] : [`netns add ${link.namespace}`]),
    ...hostLines(link, existing.veth),
    'HOST',
    `nsenter --net=${namespacePath(link.namespace)} sh -e <<'INSIDE'`,
    ...insideLines(link),
    'INSIDE',
    // Not before the connections are forgotten: the container's first could be among them.
    ...(forget ? ['wait $forgetting'] : []),
  ];
  return `${lines.join('\n')}\n`;
}

/** Beside the rest: `conntrack` walks the whole table. It ends with 1 when nothing matched. */
function forgetLines(address: string): readonly string[] {
  const forget = (side: string): string =>
    `conntrack -D ${side} ${address} >/dev/null 2>&1 || { code=$?; [ $code = 1 ] || echo "conntrack -D ${side} ended with $code"; }`;
  return ['{', forget('--orig-src'), forget('--reply-src'), '} </dev/null &', 'forgetting=$!'];
}

function hostLines({ namespace, address, mtu }: ContainerLink, vethExists: boolean): readonly string[] {
  const veth = vethName(address);
  const ends = `${veth} address ${gatewayMac} mtu ${mtu} type veth peer name eth0 address ${macOf(address)} mtu ${mtu}`;
  return [
    ...(vethExists ? [] : [`link add ${ends} netns ${namespace}`]),
    // Containers have no IPv6, so the host's end gets no address either that they could reach.
    `link set dev ${veth} addrgenmode none`,
    `link set dev ${veth} up`,
    `neighbour replace ${address} lladdr ${macOf(address)} dev ${veth} nud permanent`,
    `route replace ${address}/32 dev ${veth} scope link`,
  ];
}

function insideLines({ address }: ContainerLink): readonly string[] {
  return [
    // As in Docker: low ports and ping need no privilege, because the namespace is the container's own.
    'echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start',
    "echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range",
    // The gateway is the only way out; redirects, which a hairpin can cause, would be wrong.
    'echo 0 > /proc/sys/net/ipv4/conf/all/accept_redirects',
    'echo 0 > /proc/sys/net/ipv4/conf/eth0/accept_redirects',
    'if [ -e /proc/sys/net/ipv6 ]; then echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6; fi',
    "ip -batch - <<'BATCH'",
    'link set dev lo up',
    `address replace ${address}/32 dev eth0`,
    'link set dev eth0 up',
    `neighbour replace ${gatewayAddress} lladdr ${gatewayMac} dev eth0 nud permanent`,
    `route replace ${gatewayAddress} dev eth0 scope link`,
    `route replace default via ${gatewayAddress} dev eth0`,
    'BATCH',
  ];
}

/** Lines for `ip -batch -`. The link goes first: a namespace frees its devices later, and the address is wanted again. */
export function detachLines(
  link: Pick<ContainerLink, 'namespace' | 'address'>,
  existing: LinkParts,
): readonly string[] {
  return [
    ...(existing.veth ? [`link delete dev ${vethName(link.address)}`] : []),
    ...(existing.namespace ? [`netns delete ${link.namespace}`] : []),
  ];
}
