/** `/etc/resolv.conf`: the node's own as the agent reads it, and those of containers, which name the agent. */
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';

/** systemd-resolved keeps the real name servers in the second; the first then names only its own on loopback. */
const sources = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'] as const;
/** As the C library: who needs more has another problem. */
const maxServers = 3;
/**
 * The agent is a veth away, so a second is long; it is asked again while a new one starts after the old has died. Names
 * of services have no dot, and those with one (`web.shop`) must not first be tried under the node's search domains.
 */
const ownOptions = ['timeout:1', 'attempts:5', 'ndots:0'] as const;
/** Of the node's options those that would undo ours: which server, how often, when to search. */
const replaced = /^(?:timeout|attempts|ndots):|^rotate$/;

/** PURE. What a container's file says: the one server, and how the node searches. */
export function renderResolvConf(nodeText: string, server: string): string {
  const search = wordsOf(nodeText, 'search').at(-1) ?? wordsOf(nodeText, 'domain').at(-1) ?? [];
  const kept = wordsOf(nodeText, 'options')
    .flat()
    .filter((option) => !replaced.test(option));
  const lines = [
    `nameserver ${server}`,
    ...(search.length === 0 ? [] : [`search ${search.join(' ')}`]),
    `options ${[...ownOptions, ...new Set(kept)].join(' ')}`,
  ];
  return `${lines.join('\n')}\n`;
}

/** PURE. The servers the node itself asks, in order; none twice and never `own`, which would ask itself. */
export function serversIn(nodeTexts: readonly string[], own: string): readonly string[] {
  const servers = new Set<string>();
  for (const text of nodeTexts) {
    const named = wordsOf(text, 'nameserver').flatMap(([address]) => (address === undefined ? [] : [address]));
    for (const address of named.filter(isAddress)) if (address !== own) servers.add(address);
    // A node may live in a network namespace of its own, where a loopback server of the host does not answer.
    if ([...servers].some((address) => !isLoopback(address))) break;
  }
  return [...servers].slice(0, maxServers);
}

/** In order of their preference; empty texts for files that are not there. */
export function readNodeTexts(): Promise<readonly string[]> {
  return Promise.all(sources.map((source) => readFile(source, 'utf8').catch(() => '')));
}

/** The arguments of each line that begins with `word`. */
function wordsOf(text: string, word: string): readonly (readonly string[])[] {
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([first]) => first === word)
    .map(([, ...rest]) => rest);
}

/** `fe80::1%eth0` too. */
const isAddress = (text: string): boolean => isIP(text.split('%')[0] ?? '') !== 0;

const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '::1';
