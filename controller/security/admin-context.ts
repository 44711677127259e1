/** What the first person of a cluster talks to it with: written at the controller's start, readable by root only. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { personLifetimeMs } from './authority.ts';
import type { Authority } from './authority.ts';
import { replaceSecretFile } from './durable-file.ts';

export const adminContextFile = 'admin-context.json';
const adminName = 'admin';
/** Issued anew at a start from here on, so that one start in a few months keeps it good for ever. */
const renewBelowMs = personLifetimeMs / 3;

/** Addresses are host:port. The file is kept while its certificate has time left and its addresses are still right. */
export async function ensureAdminContext(
  folder: string,
  authority: Authority,
  addresses: { readonly control: string; readonly join: string },
  nowMs: number,
): Promise<void> {
  const path = join(folder, adminContextFile);
  const wanted = [addresses.control, addresses.join];
  if (await isStillGood(path, authority, wanted, nowMs)) return;
  const { certificate, key } = await authority.issuePerson(adminName, 'admin', nowMs);
  const context = { addresses: wanted, ca: authority.certificate, certificate, key };
  await replaceSecretFile(path, `${JSON.stringify(context, undefined, 2)}\n`);
}

async function isStillGood(
  path: string,
  authority: Authority,
  wanted: readonly string[],
  nowMs: number,
): Promise<boolean> {
  try {
    const known = JSON.parse(await readFile(path, 'utf8')) as { addresses: string[]; ca: string; certificate: string };
    const endsMs = Date.parse(new X509Certificate(known.certificate).validTo);
    const sameAddresses = known.addresses.join(' ') === wanted.join(' ');
    return sameAddresses && known.ca === authority.certificate && endsMs - nowMs > renewBelowMs;
  } catch {
    // Missing, cut off or of another form: written anew.
    return false;
  }
}
