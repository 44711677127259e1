/** `/etc/resolv.conf` of containers, from the node's own. */
import { readFile } from 'node:fs/promises';

/** systemd-resolved keeps the real name servers here; `/etc/resolv.conf` then names only its own on loopback. */
const sources = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'] as const;

/** PURE. Without name servers that a container cannot reach: those on the node's loopback and on IPv6. */
export function renderResolvConf(nodeText: string): string {
  const lines = nodeText.split('\n').map((line) => line.trim());
  const kept = lines.filter((line) => {
    const [word, value = ''] = line.split(/\s+/);
    if (word === 'nameserver') return isReachable(value);
    return word === 'search' || word === 'domain' || word === 'options';
  });
  return kept.map((line) => `${line}\n`).join('');
}

/** The node's own text, as containers get it; the first source that names a reachable server wins. */
export async function resolvConfOfNode(): Promise<string> {
  let fallback = '';
  for (const source of sources) {
    const text = renderResolvConf(await readFile(source, 'utf8').catch(() => ''));
    if (text.includes('nameserver')) return text;
    if (fallback === '') fallback = text;
  }
  return fallback;
}

const isReachable = (address: string): boolean => /^\d+\.\d+\.\d+\.\d+$/.test(address) && !address.startsWith('127.');
