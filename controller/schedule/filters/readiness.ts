/** Only nodes that are heard now, of which nothing hangs, and that have told what they are take new tasks. */
import type { Room } from '../rooms.ts';
import { refusedAs } from './filter.ts';
import type { Filter } from './filter.ts';

export const readinessFilter: Filter = {
  passes: ({ state, facts, notAccepting }) => state === 'ready' && notAccepting === undefined && facts !== undefined,
  explain: (refused) => refusedAs(refused, kindOf),
};

function kindOf({ state, notAccepting }: Room): string {
  if (notAccepting !== undefined) return `not accepting tasks (${notAccepting})`;
  if (state === undefined) return 'not heard yet';
  // Heard, and refused all the same: it has not said hello.
  return state === 'ready' ? 'not connected yet' : state;
}
