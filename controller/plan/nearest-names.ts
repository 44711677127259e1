/** "Did you mean": the known names nearest to one that is unknown. */
import { editDistance } from '../../proto/base/edit-distance.ts';

/** More edits than this and a suggestion guesses instead of helping. */
const maxEdits = 2;
/** More than this nobody reads. */
const maxSuggestions = 3;

/** Nearest first; a name that merely contains the written one counts as near, too. */
export function nearestNames(written: string, known: readonly string[]): readonly string[] {
  return known
    .filter((name) => Math.abs(name.length - written.length) <= maxEdits || name.includes(written))
    .map((name) => ({ name, edits: name.includes(written) && written.length > 1 ? 1 : editDistance(written, name) }))
    .filter(({ name, edits }) => edits <= Math.min(maxEdits, Math.floor(name.length / 2)))
    .sort((a, b) => a.edits - b.edits || (a.name < b.name ? -1 : 1))
    .slice(0, maxSuggestions)
    .map(({ name }) => name);
}
