/** PURE: what a question is answered with, or that it is for the resolvers of the node. */
import { isConfined } from '../../proto/domain/assignment.ts';
import type { TaskPlace } from '../network/network.ts';
import { reversedAddress } from './messages.ts';
import type { Query } from './messages.ts';
import { lookUpAddress, lookUpName } from './name-table.ts';
import type { Found, NameTable } from './name-table.ts';

export type Decision =
  | { readonly kind: 'addresses'; readonly addresses: readonly string[] }
  | { readonly kind: 'name'; readonly name: string }
  /** The name exists, and has nothing of what was asked for. */
  | { readonly kind: 'nothing' }
  | { readonly kind: 'no-such-name' }
  /** Copies of whole zones are for nobody. */
  | { readonly kind: 'refusal' }
  | { readonly kind: 'forward' };

/** `turn`: a number that changes with each question, so that clients which take the first address are spread. */
export function decide(
  { name, question }: Pick<Query, 'name' | 'question'>,
  asker: TaskPlace,
  table: NameTable,
  turn: number,
): Decision {
  if (question.type === 'AXFR' || question.type === 'IXFR') return { kind: 'refusal' };
  const reversed = reversedAddress(name);
  const found: Found = reversed === undefined ? lookUpName(table, name, asker) : lookUpAddress(table, reversed, asker);
  switch (found.kind) {
    case 'found':
      return asks(question.type, 'A')
        ? { kind: 'addresses', addresses: rotated(found.addresses, turn) }
        : { kind: 'nothing' };
    case 'named':
      return asks(question.type, 'PTR') ? { kind: 'name', name: found.name } : { kind: 'nothing' };
    case 'unknown':
      return { kind: 'no-such-name' };
    case 'foreign':
      // Names of the world are a way out, too: what is asked for can carry what must stay inside.
      return isConfined(asker.networks, table) ? { kind: 'no-such-name' } : { kind: 'forward' };
  }
}

/** The type library knows no ANY (RFC 8482): it is called so all the same. */
const asks = (type: string, wanted: 'A' | 'PTR'): boolean => type === wanted || type === 'ANY';

function rotated<T>(list: readonly T[], turn: number): readonly T[] {
  const start = list.length === 0 ? 0 : turn % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}
