/** `/etc/hosts` of containers: names of services work while the agent is dead, because nobody has to answer for them. */
import { open, readFile } from 'node:fs/promises';
import { FrotaError } from '../../proto/base/errors.ts';

export interface HostsContent {
  readonly hostname: string;
  /** The container's own. */
  readonly address: string;
  readonly stack: string;
  /** Those that share a network with the container, of whatever stack. */
  readonly services: readonly HostsService[];
}

export interface HostsService {
  readonly stack: string;
  readonly name: string;
  readonly vip: string;
}

/**
 * PURE. Only names whose meaning never changes in a service's life: resolvers believe this file before they ask. By its
 * name alone a service is known within its own stack; what else that name may mean is for the name server to say. No
 * IPv6 line: containers have no IPv6.
 */
export function renderHosts({ hostname, address, stack, services }: HostsContent): string {
  const entries = services.map((service) => {
    const full = `${service.stack}_${service.name} ${service.name}.${service.stack}`;
    return `${service.vip}\t${service.stack === stack ? `${service.name} ` : ''}${full}`;
  });
  const lines = ['127.0.0.1\tlocalhost', `${address}\t${hostname}`, ...entries.sort()];
  return `${lines.join('\n')}\n`;
}

/**
 * Rewrites a file that is bind-mounted into a container: same inode, one write, and only when the text differs. A
 * shorter text is filled up with empty lines instead of cutting the file, so that no reader sees a mixture of both.
 * A missing file is made. Returns whether it wrote.
 */
export async function writeInPlace(path: string, text: string): Promise<boolean> {
  const before = await readIfThere(path);
  if (before !== undefined && trimEnd(before) === trimEnd(text)) return false;
  const file = await open(path, before === undefined ? 'w' : 'r+', 0o644);
  try {
    const size = Buffer.byteLength(before ?? '');
    const bytes = Buffer.from(text + '\n'.repeat(Math.max(0, size - Buffer.byteLength(text))));
    await file.write(bytes, 0, bytes.length, 0);
    // The folder is the agent's private one; what is in it belongs to every user of the container.
    await file.chmod(0o644);
  } finally {
    await file.close();
  }
  return true;
}

const trimEnd = (text: string): string => text.replace(/\n+$/, '\n');

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw FrotaError.from(error, 'unavailable');
  }
}
