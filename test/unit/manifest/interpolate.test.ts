import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { interpolate } from '../../../cli/manifest/interpolate.ts';
import { load, loadWeb, noticesOf, problemsOf, webWith } from './load-text.ts';

const environment = { A: 'one', EMPTY: '', REF: '${A}', _x9: 'low' };
const fill = (template: string): string => {
  const filled = interpolate(template, environment);
  return filled.kind === 'text' ? filled.text : `! ${filled.message}`;
};

describe('interpolate', () => {
  it.each([
    ['plain', 'plain'],
    ['$A', 'one'],
    ['${A}', 'one'],
    ['<$A>', '<one>'],
    ['$A$A', 'oneone'],
    ['$_x9', 'low'],
    ['$NONE-', '-'],
    ['$$A', '$A'],
    ['$$$A', '$one'],
    ['$${A}', '${A}'],
    ['${NONE:-x}', 'x'],
    ['${EMPTY:-x}', 'x'],
    ['${EMPTY-x}', ''],
    ['${NONE-x}', 'x'],
    ['${A:-x}', 'one'],
    ['${NONE:-}', ''],
    ['${A:+x}', 'x'],
    ['${EMPTY:+x}', ''],
    ['${EMPTY+x}', 'x'],
    ['${NONE+x}', ''],
    ['${A:?no}', 'one'],
    ['${EMPTY?no}', ''],
    ['${NONE:-${A}}', 'one'],
    ['${NONE:-${NONE:-${A}}-b}c', 'one-bc'],
    ['${NONE:-a$$b}', 'a$b'],
    ['${NONE:-{}}', '{}'],
    ['${REF}', '${A}'],
    ['${NONE:?give ${A}}', '! required variable NONE is not set: give one'],
    ['${EMPTY:?}', '! required variable EMPTY is not set'],
    ['${NONE?}', '! required variable NONE is not set'],
    ['$', '! "$" must be followed by a variable\'s name; write "$$" for a dollar sign'],
    ['a$1', '! "$" must be followed by a variable\'s name; write "$$" for a dollar sign'],
    ['${A', '! "${" has no closing "}"; write "$$" for a dollar sign'],
    ['${}', '! "${}" names no variable; write "$$" for a dollar sign'],
    ['${A B}', '! "${A B}" is no reference that Compose knows'],
    ['${A/x/y}', '! "${A/x/y}" is no reference that Compose knows'],
    [`${'${N:-'.repeat(30)}x${'}'.repeat(30)}`, '! ${…} nests deeper than 20 levels'],
    ['$constructor', ''],
  ])('%s → %s', (template, text) => {
    expect(fill(template)).toBe(text);
  });

  it('never throws, and leaves a text without dollar signs alone', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('$', '{', '}', ':', '-', '+', '?', 'A', 'b', '_', ' ') }),
        (text) => {
          const filled = interpolate(text, environment);
          if (!text.includes('$')) expect(filled).toEqual({ kind: 'text', text, unset: [] });
        },
      ),
    );
  });

  it('takes any text through when its dollar signs are doubled', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(fill(text.replaceAll('$', '$$$$'))).toBe(text);
      }),
    );
  });
});

describe('interpolation in a file', () => {
  it('fills values and leaves keys', () => {
    const { template } = loadWeb('environment:\n  "${A}": "${A}"', { environment });
    expect(template.environment).toEqual({ '${A}': 'one' });
  });

  it('says once for each place that a variable is not set', () => {
    expect(noticesOf(webWith('user: "a$NONE$NONE"'))).toEqual([
      '4:11 services.web.user: the variable NONE is not set; an empty string stands in for it',
    ]);
  });

  it('points at the value of a reference that is wrong', () => {
    expect(problemsOf(webWith('working_dir: "${"'))).toEqual([
      '4:18 services.web.working_dir: "${" has no closing "}"; write "$$" for a dollar sign',
    ]);
  });

  it('does not look into x- keys', () => {
    expect(load('x-a: "${"\nservices: {web: {image: a, x-b: "$1"}, x-c: 3}\n').kind).toBe('ok');
  });
});
