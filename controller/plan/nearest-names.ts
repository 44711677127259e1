/** "Did you mean": the known names nearest to one that is unknown. */

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

/** Insertions, deletions, replacements and swaps of neighbours that turn one into the other (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  const width = b.length + 1;
  const table = new Uint16Array((a.length + 1) * width);
  const at = (row: number, column: number): number => table[row * width + column] ?? 0;
  for (let row = 0; row <= a.length; row += 1) {
    for (let column = 0; column <= b.length; column += 1) {
      table[row * width + column] = Math.min(
        row === 0 || column === 0 ? row + column : at(row - 1, column - 1) + (a[row - 1] === b[column - 1] ? 0 : 1),
        row === 0 ? column : at(row - 1, column) + 1,
        column === 0 ? row : at(row, column - 1) + 1,
        areSwapped(a, row, b, column) ? at(row - 2, column - 2) + 1 : row + column,
      );
    }
  }
  return at(a.length, b.length);
}

const areSwapped = (a: string, row: number, b: string, column: number): boolean =>
  row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
