import { createColors } from 'picocolors';

/** picocolors' functions; each returns its text unchanged where colour is off. */
export type Colours = ReturnType<typeof createColors>;

/**
 * Colour for one stream: off when `NO_COLOR` is set (no-color.org) or `TERM` is `dumb`, on when `FORCE_COLOR` is, else
 * on a terminal only. Standard output and standard error may differ, so each asks for itself.
 */
export function coloursFor(isTty: boolean, environment: Readonly<Record<string, string | undefined>>): Colours {
  return createColors(wanted(isTty, environment));
}

function wanted(isTty: boolean, environment: Readonly<Record<string, string | undefined>>): boolean {
  if ((environment['NO_COLOR'] ?? '') !== '') return false;
  const force = environment['FORCE_COLOR'] ?? '';
  if (force !== '' && force !== '0') return true;
  return isTty && environment['TERM'] !== 'dumb';
}
