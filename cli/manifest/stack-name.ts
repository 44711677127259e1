import { maxNameLength } from '../../proto/domain/validate.ts';

/** A stack's name: of lower-case letters, digits, `_` and `-`, starting with a letter or a digit, as Compose's projects. */

export const stackNameRule =
  `a stack's name consists of lower-case letters, digits, "_" and "-", starts with a letter or a digit, ` +
  `and has at most ${String(maxNameLength)} of them`;

export const isStackName = (name: string): boolean =>
  /^[a-z0-9][a-z0-9_-]*$/u.test(name) && name.length <= maxNameLength;

/** What Compose makes of a folder's name: lower case, other characters dropped. May be empty. */
export function normaliseStackName(directoryName: string): string {
  const kept = directoryName.toLowerCase().replaceAll(/[^a-z0-9_-]/gu, '');
  return kept.replace(/^[_-]+/u, '').slice(0, maxNameLength);
}
