/** The wires of a local cluster: a bridge on the host, one namespace with `eth0` for each of its machines, and the way out. */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { addressesIn, bridgeMac, hostLinkOf, namespaceFolder, namespaceOf, type Place } from './place.ts';
import { call } from './programs.ts';

interface LinkView {
  readonly operstate: string;
  readonly flags: readonly string[];
  readonly addr_info?: readonly { readonly local?: string }[];
}

/** Bridge, its address, forwarding, masquerading. Touches only what is missing. */
export async function ensureBridge(place: Place, subnet: string): Promise<void> {
  const { host } = addressesIn(subnet);
  const link = await readLink(['-json', 'address', 'show', 'dev', place.bridge]);
  if (link === undefined)
    await call('ip', ['link', 'add', place.bridge, 'address', bridgeMac(place), 'type', 'bridge']);
  if (!hasAddress(link, host)) await call('ip', ['address', 'replace', `${host}/24`, 'dev', place.bridge]);
  if (!isUp(link)) await call('ip', ['link', 'set', place.bridge, 'up']);
  const forwarding = '/proc/sys/net/ipv4/ip_forward';
  if ((await readFile(forwarding, 'utf8')).trim() !== '1') await writeFile(forwarding, '1');
  const table = await call('nft', ['list', 'table', 'ip', place.table], { allowedCodes: [0, 1] });
  if (!table.stdout.includes(`ip daddr != ${subnet} masquerade`))
    await call('nft', ['-f', '-'], { input: rules(place, subnet) });
}

function rules(place: Place, subnet: string): string {
  return [
    `table ip ${place.table}`,
    `delete table ip ${place.table}`,
    `table ip ${place.table} {`,
    '  chain way-out {',
    '    type nat hook postrouting priority srcnat; policy accept;',
    `    ip saddr ${subnet} ip daddr != ${subnet} masquerade`,
    '  }',
    '}',
    '',
  ].join('\n');
}

/** The namespace of one machine. True if it had to be made: then nothing that ran in one of this name can be reached any more. */
export async function ensureNamespace(place: Place, subnet: string, id: string): Promise<boolean> {
  const namespace = namespaceOf(place, id);
  const addresses = addressesIn(subnet);
  const isNew = !(await isMounted(namespace));
  if (isNew) {
    await removeNamespace(namespace);
    await call('ip', ['netns', 'add', namespace]);
    await call('ip', ['-n', namespace, 'link', 'set', 'lo', 'up']);
  }
  const inside = isNew ? undefined : await readLink(['-n', namespace, '-json', 'address', 'show', 'dev', 'eth0']);
  const hostLink = hostLinkOf(place, id);
  if (inside === undefined) {
    await call('ip', ['link', 'delete', hostLink], { allowedCodes: [0, 1] });
    const peer = ['peer', 'name', 'eth0', 'netns', namespace];
    await call('ip', ['link', 'add', hostLink, 'type', 'veth', ...peer]);
  }
  const outside = await readLink(['-json', 'address', 'show', 'dev', hostLink, 'master', place.bridge]);
  if (outside === undefined || !isUp(outside))
    await call('ip', ['link', 'set', hostLink, 'master', place.bridge, 'up']);
  if (!hasAddress(inside, addresses.of(id))) {
    await call('ip', ['-n', namespace, 'address', 'replace', `${addresses.of(id)}/24`, 'dev', 'eth0']);
  }
  if (!isUp(inside)) {
    await call('ip', ['-n', namespace, 'link', 'set', 'eth0', 'up']);
    await call('ip', ['-n', namespace, 'route', 'replace', 'default', 'via', addresses.host, 'dev', 'eth0']);
  }
  return isNew;
}

/** Removes bridge, links, table, and every namespace of the cluster's machines and of their containers. True if any was there. */
export async function removeWiring(place: Place): Promise<boolean> {
  const namespaces = (await readdir(namespaceFolder).catch(() => [])).filter((name) => belongsTo(place, name));
  for (const namespace of namespaces) await removeNamespace(namespace);
  const listed = await call('ip', ['-json', 'link', 'show']);
  const links = (JSON.parse(listed.stdout) as readonly { readonly ifname: string }[]).map((link) => link.ifname);
  const ours = links.filter((link) => link === place.bridge || isHostLink(place, link));
  // A veth may go with its namespace between the listing and here.
  for (const link of ours) await call('ip', ['link', 'delete', link], { allowedCodes: [0, 1] });
  const table = await call('nft', ['delete', 'table', 'ip', place.table], { allowedCodes: [0, 1] });
  return namespaces.length > 0 || ours.length > 0 || table.code === 0;
}

/** `frota-NAME-n1` for a machine; an agent names those of its containers `frota-NAME-n1.…`. */
function belongsTo(place: Place, namespace: string): boolean {
  const stem = `frota-${place.name}-`;
  return namespace.startsWith(stem) && /^[cn][0-9]+([.-]|$)/.test(namespace.slice(stem.length));
}

function isHostLink(place: Place, link: string): boolean {
  const id = /-([cn][0-9]+)$/.exec(link)?.[1];
  return id !== undefined && hostLinkOf(place, id) === link;
}

async function removeNamespace(namespace: string): Promise<void> {
  await call('ip', ['netns', 'delete', namespace], { allowedCodes: [0, 1] });
  // After a reboot there may be a file without a namespace behind it, which `ip` will not always remove.
  await rm(join(namespaceFolder, namespace), { force: true });
}

/** A file alone is no namespace: after a reboot it may be left without its mount. */
async function isMounted(namespace: string): Promise<boolean> {
  const mountinfo = await readFile('/proc/self/mountinfo', 'utf8');
  return mountinfo.includes(` ${join(namespaceFolder, namespace)} `);
}

async function readLink(args: readonly string[]): Promise<LinkView | undefined> {
  const listed = await call('ip', args, { allowedCodes: [0, 1, 255] });
  if (listed.code !== 0 || listed.stdout.trim() === '') return undefined;
  const links = JSON.parse(listed.stdout) as readonly Partial<LinkView>[];
  const link = links.find((each) => each.flags !== undefined);
  return link as LinkView | undefined;
}

const isUp = (link: LinkView | undefined): boolean => link?.flags.includes('UP') === true;

const hasAddress = (link: LinkView | undefined, address: string): boolean =>
  link?.addr_info?.some((each) => each.local === address) === true;
