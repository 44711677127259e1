import type { StackSpec } from '../../proto/domain/service.ts';
import { validateStackSpec } from '../../proto/domain/validate.ts';
import type { Findings, Position } from './problem.ts';
import type { TreeNode } from './tree.ts';

/**
 * What the controller would refuse, told here with its place: the same check runs there, for other clients. It comes
 * last and finds what no single key shows, for example that a service is too large as a whole.
 */
export function reportDomainProblems(spec: StackSpec, tree: TreeNode, findings: Findings): void {
  for (const { where, message } of validateStackSpec(spec)) findings.problem(placeOf(where, tree), where, message);
}

/** The deepest node that `where` (`services.web.ports[0]`) leads to; the document's start where it leads nowhere. */
function placeOf(where: string, tree: TreeNode): Position {
  let node = tree;
  let at: Position = { line: 1, column: 1 };
  let rest = where;
  for (;;) {
    if (node.kind === 'map') {
      // Names may contain dots: the longest key that the path goes on with is the one that is meant.
      const key = node.entries
        .filter((entry) => rest === entry.key || rest.startsWith(`${entry.key}.`) || rest.startsWith(`${entry.key}[`))
        .sort((a, b) => b.key.length - a.key.length)[0];
      if (key === undefined) return at;
      at = key.at;
      node = key.value;
      rest = rest.slice(key.key.length).replace(/^\./u, '');
    } else if (node.kind === 'list') {
      const index = /^\[(\d+)\]\.?/u.exec(rest);
      const item = index === null ? undefined : node.items[Number(index[1])];
      if (index === null || item === undefined) return at;
      at = item;
      node = item;
      rest = rest.slice(index[0].length);
    } else {
      return at;
    }
  }
}
