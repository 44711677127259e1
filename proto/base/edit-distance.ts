/** How far apart two words are, for "did you mean". */

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
