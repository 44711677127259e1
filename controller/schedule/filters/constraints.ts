/** What the service asks of its nodes (`deploy.placement.constraints`); a node is counted under the first it does not meet. */
import { constraintText } from '../../../proto/domain/placement.ts';
import type { Filter } from './filter.ts';

export const constraintFilter: Filter = {
  passes: ({ node, facts }, { unmet }) => unmet(node, facts) === undefined,
  explain: (refused, { constraints, unmet }) =>
    constraints.flatMap((constraint) => {
      const { length: count } = refused.filter(({ node, facts }) => unmet(node, facts) === constraint);
      const text = `match "${constraintText(constraint)}"`;
      return count === 0 ? [] : [{ count, one: `doesn't ${text}`, many: `don't ${text}` }];
    }),
};
