import { expect, it } from 'vitest';
import { withoutEmptyNote } from '../../../proto/base/transport-words.ts';

it.each([
  ['No connection established. Last error: null. Resolution note: ', 'No connection established.'],
  ['No connection. Last error: Error: refused. Resolution note: ', 'No connection. Last error: Error: refused.'],
  ['No connection. Resolution note: no such host', 'No connection. Resolution note: no such host'],
])('%j loses an empty note only', (text, told) => {
  expect(withoutEmptyNote(text)).toBe(told);
});
