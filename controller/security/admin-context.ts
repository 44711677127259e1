/** What the first person of a cluster talks to it with: written once, at the controller's first start, readable by root only. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Authority } from './authority.ts';
import { createSecretFile } from './durable-file.ts';

export const adminContextFile = 'admin-context.json';
const adminName = 'admin';

/** Addresses are host:port. Does nothing when the file is there. */
export async function ensureAdminContext(
  folder: string,
  authority: Authority,
  addresses: { readonly control: string; readonly join: string },
  nowMs: number,
): Promise<void> {
  const path = join(folder, adminContextFile);
  const there = await readFile(path).then(
    () => true,
    () => false,
  );
  if (there) return;
  const { certificate, key } = await authority.issuePerson(adminName, 'admin', nowMs);
  const context = { addresses: [addresses.control, addresses.join], ca: authority.certificate, certificate, key };
  await createSecretFile(path, `${JSON.stringify(context, undefined, 2)}\n`);
}
