/** What the loader says about a Compose file: where, which field, what is wrong, what to write instead. */

/** 1-based, as editors count. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface ManifestProblem extends Position {
  readonly file: string;
  /** `services.web.restart`, `services.web.ports[0]`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  /** The near word, where the problem is probably a slip of the pen. */
  readonly suggestion?: string;
}

/** More findings than these help nobody, and a broken file of half a megabyte must not print forever. */
export const maxProblems = 100;

const byPosition = (a: ManifestProblem, b: ManifestProblem): number =>
  a.line - b.line || a.column - b.column || compareText(a.path, b.path) || compareText(a.message, b.message);

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Collects problems (which refuse the file) and notices (which do not) while a file is read. */
export class Findings {
  readonly #file: string;
  readonly #problems: ManifestProblem[] = [];
  readonly #notices: ManifestProblem[] = [];
  readonly #seen = new Set<string>();

  constructor(file: string) {
    this.#file = file;
  }

  problem(position: Position, path: string, message: string, suggestion?: string): void {
    this.#add(this.#problems, position, path, message, suggestion);
  }

  notice(position: Position, path: string, message: string): void {
    this.#add(this.#notices, position, path, message);
  }

  get hasProblems(): boolean {
    return this.#problems.length > 0;
  }

  /** Sorted by position; at most `maxProblems`, the last of which says how many more there are. */
  problems(): readonly ManifestProblem[] {
    const sorted = this.#problems.toSorted(byPosition);
    const last = sorted[maxProblems - 1];
    if (last === undefined || sorted.length === maxProblems) return sorted;
    const left = sorted.length - maxProblems + 1;
    return [...sorted.slice(0, maxProblems - 1), { ...last, path: '', message: `and ${String(left)} more problems` }];
  }

  notices(): readonly ManifestProblem[] {
    return this.#notices.toSorted(byPosition).slice(0, maxProblems);
  }

  #add(list: ManifestProblem[], position: Position, path: string, message: string, suggestion?: string): void {
    const { line, column } = position;
    // What an anchor carries is read once for each place that uses it: the same finding is told once.
    const key = `${String(line)}:${String(column)}:${path}:${message}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    const found = { file: this.#file, line, column, path, message };
    list.push(suggestion === undefined ? found : { ...found, suggestion });
  }
}

/** `compose.yaml:7:5 services.web.restrat: unknown key; did you mean "restart"?` */
export function problemText(problem: ManifestProblem): string {
  const { file, line, column, path } = problem;
  const where = `${file}:${String(line)}:${String(column)}`;
  return `${where}${path === '' ? '' : ` ${path}`}: ${problemMessage(problem)}`;
}

/** The message with its suggestion, without the place. */
export function problemMessage(problem: ManifestProblem): string {
  return problem.suggestion === undefined
    ? problem.message
    : `${problem.message}; did you mean "${problem.suggestion}"?`;
}
