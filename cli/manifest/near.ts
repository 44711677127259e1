/** The known word nearest to a misspelt one, for "did you mean". */

/** Longer words are no slip of a known key; the comparison is quadratic in length. */
const maxWordLength = 40;

/** Undefined when nothing is near: at most a third of the letters may differ, and two at least must agree. */
export function nearestWord(word: string, known: Iterable<string>): string | undefined {
  if (word.length > maxWordLength) return undefined;
  const plain = foldWord(word);
  let best: { readonly word: string; readonly distance: number } | undefined;
  for (const candidate of known) {
    const distance = editDistance(plain, foldWord(candidate));
    const allowed = Math.max(1, Math.floor(Math.max(word.length, candidate.length) / 3));
    if (distance > allowed || distance >= Math.min(word.length, candidate.length) - 1) continue;
    if (best === undefined || distance < best.distance) best = { word: candidate, distance };
  }
  return best?.word;
}

/** `workingDir`, `working-dir` and `working_dir` are one word to a person. */
const foldWord = (word: string): string => word.toLowerCase().replaceAll(/[-_ ]/gu, '');

/** Optimal string alignment: insertions, deletions, replacements and swaps of neighbours each cost one. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let cost = Math.min((row[j - 1] ?? 0) + 1, (last[j] ?? 0) + 1, replaced);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
