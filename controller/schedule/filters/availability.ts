/** What people ordered: a paused node takes nothing new, a drained one is to be empty. */
import type { Availability } from '../../../proto/domain/node.ts';
import { countAre, countBy } from './filter.ts';
import type { Filter } from './filter.ts';

const words: Readonly<Record<Exclude<Availability, 'active'>, string>> = { pause: 'paused', drain: 'drained' };

export const availabilityFilter: Filter = {
  passes: ({ node }) => node.availability === 'active',
  explain: (refused) => {
    const kinds = countBy(refused, ({ node }) =>
      node.availability === 'active' ? undefined : words[node.availability],
    );
    return [...kinds].map(([word, count]) => countAre(count, word));
  },
};
