/** The known word nearest to a misspelt one, for "did you mean". */
import { editDistance } from '../../proto/base/edit-distance.ts';

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
