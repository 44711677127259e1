/** Which proxy the environment names for a URL: HTTP_PROXY, HTTPS_PROXY and NO_PROXY as curl, Docker and Go read them. */
import { BlockList, isIP } from 'node:net';
import { FrotaError } from '../base/errors.ts';
import { hostOf } from './insecure-registries.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The proxy to go through; undefined: none, ask the host itself. */
export type ProxyFor = (url: URL) => URL | undefined;

/**
 * Lower-case names come first, as everywhere. Loopback is never asked through a proxy: it would be another machine's.
 * @throws FrotaError `invalid` for a proxy that is no http or https URL; without what it says, which may hold a password.
 */
export function proxiesOf(environment: Environment): ProxyFor {
  const valueOf = (name: string): string => environment[name] ?? environment[name.toUpperCase()] ?? '';
  const proxies: Readonly<Record<string, URL | undefined>> = {
    'http:': parseProxy('HTTP_PROXY', valueOf('http_proxy')),
    'https:': parseProxy('HTTPS_PROXY', valueOf('https_proxy')),
  };
  const isExcepted = exceptions(valueOf('no_proxy'));
  return (url) => (isExcepted(url) ? undefined : proxies[url.protocol]);
}

function parseProxy(name: string, value: string): URL | undefined {
  if (value === '') return undefined;
  const text = value.includes('://') ? value : `http://${value}`;
  if (URL.canParse(text)) {
    const url = new URL(text);
    if (url.protocol === 'http:' || url.protocol === 'https:') return url;
  }
  throw new FrotaError('invalid', `${name} in the environment is no proxy; write http://host:port`);
}

/** Entries of NO_PROXY: `*`, names (which hold for what is below them), addresses and CIDRs; all but the last with or without port. */
function exceptions(text: string): (url: URL) => boolean {
  const blocks = new BlockList();
  const names: string[] = ['localhost'];
  blocks.addSubnet('127.0.0.0', 8, 'ipv4');
  blocks.addSubnet('::1', 128, 'ipv6');
  for (const entry of text.toLowerCase().split(/[\s,]+/)) {
    const [, address = '', prefix = ''] = /^(.+)\/(\d{1,3})$/.exec(entry) ?? [];
    const family = isIP(address);
    // What nobody can read excepts nothing, as with other programs.
    if (family !== 0 && Number(prefix) <= (family === 6 ? 128 : 32)) {
      blocks.addSubnet(address, Number(prefix), family === 6 ? 'ipv6' : 'ipv4');
    } else if (entry !== '') names.push(entry.replace(/^\*?\./, ''));
  }
  return ({ host: authority, protocol, port }) => {
    const host = hostOf(authority);
    const family = isIP(host);
    if (family !== 0 && blocks.check(host, family === 6 ? 'ipv6' : 'ipv4')) return true;
    const withPort = `${host}:${port === '' ? (protocol === 'https:' ? '443' : '80') : port}`;
    return names.some(
      (name) =>
        name === '*' || [host, withPort].some((each) => each === name || (family === 0 && each.endsWith(`.${name}`))),
    );
  };
}
