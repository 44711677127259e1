import { describeError } from '../../proto/base/errors.ts';
import type { FrotaError } from '../../proto/base/errors.ts';
import { problemMessage } from '../manifest/problem.ts';
import type { Colours } from './colours.ts';
import { findingText, ManifestError } from './manifest-error.ts';
import { printable } from './text.ts';
import { logText, UnsettledError } from './unsettled-error.ts';

/** An error for people: its findings first, each with its place, and the sentence that sums them up last. */
export function errorText(error: FrotaError, colours: Colours): string {
  const label = colours.red(colours.bold('error:'));
  const sentence = `${label} ${printable(describeError(error))}\n`;
  if (error instanceof ManifestError) {
    const lines = error.text.split(/\r\n|\r|\n/u);
    return `${error.findings.map((finding) => findingText(finding, lines, colours)).join('')}${sentence}`;
  }
  const problems = error.problems
    .map(({ where, message }) => `${printable(where)}: ${printable(message)}`)
    // One that is alone may be all that the sentence says.
    .filter((problem) => !sentence.includes(problem))
    .map((problem) => `  ${problem}\n`);
  const logs = error instanceof UnsettledError ? error.logs.map((log) => logText(log, colours)) : [];
  return `${sentence}${problems.join('')}${logs.join('')}`;
}

/** The object that `-o json` puts on standard error. `problems` of a Compose file also carry file, line and column; a wait that ended has `logs`. */
export function errorJson(error: FrotaError): object {
  const problems =
    error instanceof ManifestError
      ? error.findings.map((finding) => ({
          where: `${finding.file}:${String(finding.line)}:${String(finding.column)}`,
          message: problemMessage(finding),
          file: finding.file,
          line: finding.line,
          column: finding.column,
          path: finding.path,
          ...(finding.suggestion !== undefined && { suggestion: finding.suggestion }),
        }))
      : error.problems;
  const logs = error instanceof UnsettledError ? { logs: error.logs } : {};
  return { error: { code: error.code, message: describeError(error), problems, ...logs } };
}
