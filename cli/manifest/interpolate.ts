/**
 * Compose's interpolation of values (Compose Specification, "Interpolation"): `$VAR`, `${VAR}`, `:-`, `-`, `:?`, `?`,
 * `:+`, `+`, nested in their operands, and `$$` for a dollar sign. What a variable holds is not interpolated again.
 */

export type Environment = Readonly<Record<string, string>>;

export type Interpolated =
  | { readonly kind: 'text'; readonly text: string; readonly unset: readonly string[] }
  | { readonly kind: 'problem'; readonly message: string };

/** Defaults nested deeper than this are no person's work, and each level is one recursion. */
const maxNesting = 20;
/** The kernel takes no argument or variable above 128 KiB; nested references could multiply a value without end. */
const maxTextLength = 1024 * 1024;

const name = /^[a-z_][a-z0-9_]*/iu;

export function variable(environment: Environment, key: string): string | undefined {
  return Object.hasOwn(environment, key) ? environment[key] : undefined;
}

/** `unset` names the variables that were replaced by an empty string because nothing set them. */
export function interpolate(template: string, environment: Environment): Interpolated {
  if (!template.includes('$')) return { kind: 'text', text: template, unset: [] };
  const unset = new Set<string>();
  try {
    const text = substitute(template, environment, unset, 0);
    return { kind: 'text', text, unset: [...unset] };
  } catch (thrown) {
    if (thrown instanceof TemplateProblem) return { kind: 'problem', message: thrown.message };
    throw thrown;
  }
}

class TemplateProblem extends Error {}

function substitute(template: string, environment: Environment, unset: Set<string>, depth: number): string {
  if (depth > maxNesting) throw new TemplateProblem(`\${…} nests deeper than ${String(maxNesting)} levels`);
  let text = '';
  let rest = template;
  for (;;) {
    const dollar = rest.indexOf('$');
    text += dollar < 0 ? rest : rest.slice(0, dollar);
    if (text.length > maxTextLength)
      throw new TemplateProblem('the value is too long once its variables are filled in');
    if (dollar < 0) return text;
    rest = rest.slice(dollar + 1);
    const [value, length] = reference(rest, environment, unset, depth);
    text += value;
    rest = rest.slice(length);
  }
}

/** The value of the reference that starts after a dollar sign, and how many characters it takes. */
function reference(rest: string, env: Environment, unset: Set<string>, depth: number): readonly [string, number] {
  if (rest.startsWith('$')) return ['$', 1];
  if (rest.startsWith('{')) {
    const end = closingBrace(rest);
    if (end < 0) throw new TemplateProblem(`"\${" has no closing "}"; write "$$" for a dollar sign`);
    return [braced(rest.slice(1, end), env, unset, depth), end + 1];
  }
  const plain = name.exec(rest)?.[0];
  if (plain === undefined) {
    throw new TemplateProblem('"$" must be followed by a variable\'s name; write "$$" for a dollar sign');
  }
  return [valueOrEmpty(plain, env, unset), plain.length];
}

/** Index of the brace that closes the one at the start, past nested references; -1 if none does. */
function closingBrace(text: string): number {
  let open = 0;
  for (let index = 0; index < text.length; index += 1) {
    if (index === 0 || text.startsWith('${', index)) {
      open += 1;
      if (index > 0) index += 1;
    } else if (text[index] === '}') {
      open -= 1;
      if (open === 0) return index;
    }
  }
  return -1;
}

function braced(body: string, environment: Environment, unset: Set<string>, depth: number): string {
  const key = name.exec(body)?.[0];
  if (key === undefined) {
    throw new TemplateProblem(`"\${${body}}" names no variable; write "$$" for a dollar sign`);
  }
  const operation = body.slice(key.length);
  if (operation === '') return valueOrEmpty(key, environment, unset);
  const matched = /^(:?)([-?+])/u.exec(operation);
  if (matched === null) throw new TemplateProblem(`"\${${body}}" is no reference that Compose knows`);
  const operand = operation.slice(matched[0].length);
  const value = variable(environment, key);
  // With a colon an empty value counts as unset.
  const isSet = value !== undefined && (matched[1] === '' || value !== '');
  const filled = (): string => substitute(operand, environment, unset, depth + 1);
  switch (matched[2]) {
    case '-':
      return isSet ? value : filled();
    case '+':
      return isSet ? filled() : '';
    default: {
      if (isSet) return value;
      const reason = filled();
      throw new TemplateProblem(`required variable ${key} is not set${reason === '' ? '' : `: ${reason}`}`);
    }
  }
}

function valueOrEmpty(key: string, environment: Environment, unset: Set<string>): string {
  const value = variable(environment, key);
  if (value === undefined) unset.add(key);
  return value ?? '';
}
