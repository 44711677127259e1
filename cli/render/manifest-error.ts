import { FrotaError } from '../../proto/base/errors.ts';
import type { ManifestProblem } from '../manifest/problem.ts';
import { problemMessage } from '../manifest/problem.ts';
import type { Colours } from './colours.ts';
import { countText, printable } from './text.ts';

/** A Compose file that was refused, with its text, so that each problem can be shown in its line. */
export class ManifestError extends FrotaError {
  readonly findings: readonly ManifestProblem[];
  readonly text: string;

  constructor(file: string, findings: readonly ManifestProblem[], text: string) {
    super('invalid', `${file}: ${countText(findings.length, 'problem')}, nothing was applied`, {
      problems: findings.map((finding) => ({ where: placeOf(finding), message: problemMessage(finding) })),
    });
    this.findings = findings;
    this.text = text;
  }
}

const placeOf = ({ file, line, column }: ManifestProblem): string => `${file}:${String(line)}:${String(column)}`;

/** One finding on one line, then the line it is about and a mark under the place. */
export function findingText(finding: ManifestProblem, sourceLines: readonly string[], colours: Colours): string {
  const path = finding.path === '' ? '' : ` ${finding.path}`;
  const head = `${colours.bold(placeOf(finding))}${printable(path)}: ${printable(problemMessage(finding))}\n`;
  return head + excerpt(finding, sourceLines[finding.line - 1], colours);
}

/** So much of a long line is shown, around the place. */
const excerptWidth = 100;

function excerpt({ line, column }: ManifestProblem, source: string | undefined, colours: Colours): string {
  if (source === undefined || source.trim() === '') return '';
  const from = Math.max(0, Math.min(column - 1 - excerptWidth / 2, source.length - excerptWidth));
  // One blank for each tab and control character, so that the mark stays under its place.
  const shown = source.slice(from, from + excerptWidth).replaceAll(/./gu, printable);
  const gutter = String(line).padStart(5);
  const mark = `${' '.repeat(Math.max(0, column - 1 - from))}${colours.red('^')}`;
  return `${colours.dim(`${gutter} |`)} ${shown}\n${colours.dim(`${' '.repeat(gutter.length)} |`)} ${mark}\n`;
}
