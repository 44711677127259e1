/** What people ordered: a paused node takes nothing new, a drained one is to be empty. */
import { refusedAs } from './filter.ts';
import type { Filter } from './filter.ts';

export const availabilityFilter: Filter = {
  passes: ({ node }) => node.availability === 'active',
  explain: (refused) => refusedAs(refused, ({ node }) => (node.availability === 'drain' ? 'drained' : 'paused')),
};
