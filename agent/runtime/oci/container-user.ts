/** PURE: who a container runs as, from the image's `user` and its own `/etc/passwd` and `/etc/group` (image-spec config.md). */
import { FrotaError } from '../../../proto/base/errors.ts';

export interface ContainerUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  readonly home: string;
}

/** The kernel's ids have 32 bits, but -1 and signed readings make the upper half a trap; runc refuses it too. */
const maxId = 2 ** 31 - 1;

/**
 * `user` is empty, `user`, `uid`, `user:group`, `uid:gid` or a mix. A number need not be listed; a name must.
 * Supplementary groups are those that list the user, and only when no group is given (as Docker does).
 * Throws `invalid` for a name that is not listed or a number out of range.
 */
export function resolveUser(user: string, passwd: string, group: string): ContainerUser {
  const [userPart = '', groupPart = ''] = user.split(':', 2);
  const entry = findUser(userPart === '' ? '0' : userPart, passwd);
  const gid = groupPart === '' ? entry.gid : findGroup(groupPart, group);
  const listed = groupPart !== '' || entry.name === undefined ? [] : groupsOf(entry.name, group);
  // The primary group is listed too: else a program could drop it and lose what files deny to it (CVE-2022-36109).
  return { uid: entry.uid, gid, additionalGids: [...new Set([gid, ...listed])], home: entry.home };
}

interface PasswdEntry {
  readonly name?: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

function findUser(wanted: string, passwd: string): PasswdEntry {
  const number = asId(wanted);
  for (const fields of lines(passwd)) {
    const [name = '', , uidText = '', gidText = '', , home = ''] = fields;
    const uid = asId(uidText);
    const gid = asId(gidText);
    if (uid === undefined || gid === undefined || (name !== wanted && uid !== number)) continue;
    return { name, uid, gid, home: home === '' ? '/' : home };
  }
  if (number === undefined) {
    throw new FrotaError('invalid', `user ${JSON.stringify(wanted)} is not in the image's /etc/passwd; use its number`);
  }
  return { uid: checkId(number), gid: 0, home: number === 0 ? '/root' : '/' };
}

function findGroup(wanted: string, group: string): number {
  const number = asId(wanted);
  for (const [name, , gidText = ''] of lines(group)) {
    const gid = asId(gidText);
    if (gid !== undefined && name === wanted) return gid;
  }
  if (number === undefined) {
    throw new FrotaError('invalid', `group ${JSON.stringify(wanted)} is not in the image's /etc/group; use its number`);
  }
  return checkId(number);
}

function groupsOf(name: string, group: string): readonly number[] {
  const gids = new Set<number>();
  for (const [, , gidText = '', members = ''] of lines(group)) {
    const gid = asId(gidText);
    if (gid !== undefined && members.split(',').includes(name)) gids.add(gid);
  }
  return [...gids];
}

function* lines(text: string): Generator<readonly string[]> {
  for (const line of text.split('\n')) {
    const trimmed = line.trim();
    if (trimmed !== '' && !trimmed.startsWith('#')) yield trimmed.split(':');
  }
}

function asId(text: string): number | undefined {
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

function checkId(id: number): number {
  if (id > maxId) throw new FrotaError('invalid', `user or group ${String(id)} is above ${String(maxId)}`);
  return id;
}
