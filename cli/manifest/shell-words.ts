/**
 * Splits the string form of `command` and `entrypoint` into words as Compose does (go-shellwords without expansion):
 * quotes and backslashes count, nothing is expanded and no shell runs it. Where that parser drops the rest of the line
 * (`;`, `&`, `|`, `<`, `>`), the line is refused, for what was written would not be done.
 */
export type ShellWords =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'problem'; readonly message: string };

const operators = new Set([';', '&', '|', '<', '>']);
const blanks = new Set([' ', '\t', '\r', '\n']);
const escapes = new Map([
  ['n', '\n'],
  ['t', '\t'],
]);

export function splitShellWords(line: string): ShellWords {
  const words: string[] = [];
  let word: string | undefined;
  let quote: '"' | "'" | '`' | '$(' | undefined;
  let escaped = false;
  for (const char of line) {
    if (escaped) {
      word = (word ?? '') + (escapes.get(char) ?? char);
      escaped = false;
    } else if (char === '\\' && quote !== "'") {
      escaped = true;
    } else if (blanks.has(char) && quote === undefined) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if ((char === '"' || char === "'") && (quote === undefined || quote === char)) {
      quote = quote === undefined ? char : undefined;
      word ??= '';
    } else if (quote === undefined && operators.has(char)) {
      return problem(`"${char}" has no meaning here, for no shell runs this; ${shellHint}`);
    } else if (
      quote === undefined &&
      (char === '(' || char === ')') &&
      !(char === '(' && word?.endsWith('$') === true)
    ) {
      return problem(`"${char}" has no meaning here, for no shell runs this; quote it, or ${shellHint}`);
    } else {
      if (char === '`' && (quote === undefined || quote === '`')) quote = quote === undefined ? '`' : undefined;
      else if (char === '(' && quote === undefined) quote = '$(';
      else if (char === ')' && quote === '$(') quote = undefined;
      word = (word ?? '') + char;
    }
  }
  if (escaped) return problem('it ends with a backslash that escapes nothing');
  if (quote !== undefined) return problem(`the ${quote} is not closed`);
  if (word !== undefined) words.push(word);
  return { kind: 'words', words };
}

const shellHint = 'write ["sh", "-c", "…"] to have one';

const problem = (message: string): ShellWords => ({ kind: 'problem', message });
