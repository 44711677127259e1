/** `deploy.placement`. */
import { anywhere } from '../../proto/domain/placement.ts';
import type { Constraint, Placement } from '../../proto/domain/placement.ts';
import { attributeRule, isNodeAttribute } from '../../proto/domain/validate-parts.ts';
import { maxReplicas } from '../../proto/domain/validate.ts';
import { placementKeys, preferenceKeys } from './compose-keys.ts';
import { shorten } from './tree.ts';
import type { TreeNode } from './tree.ts';
import { joinPath } from './value-reader.ts';
import type { ValueReader } from './value-reader.ts';

export function readPlacement(reader: ValueReader, node: TreeNode | undefined, path: string): Placement {
  const fields = node === undefined ? undefined : reader.fields(node, path, placementKeys);
  if (fields === undefined) return anywhere;
  const mostNode = fields.get('max_replicas_per_node')?.value;
  const most = mostNode && reader.whole(mostNode, joinPath(path, 'max_replicas_per_node'), 0, maxReplicas);
  return {
    constraints: readConstraints(reader, fields.get('constraints')?.value, joinPath(path, 'constraints')),
    spread: readPreferences(reader, fields.get('preferences')?.value, joinPath(path, 'preferences')),
    // As in Docker, zero means no bound.
    ...(most !== undefined && most > 0 && { maxReplicasPerNode: most }),
  };
}

function readConstraints(reader: ValueReader, node: TreeNode | undefined, path: string): readonly Constraint[] {
  if (node === undefined) return [];
  return (reader.list(node, path)?.items ?? []).flatMap((item, index): readonly Constraint[] => {
    const itemPath = `${path}[${String(index)}]`;
    const text = reader.string(item, itemPath, 'a constraint such as "node.labels.zone == north"');
    if (text === undefined) return [];
    const [, attribute = '', operator = '', value = ''] = /^\s*(\S+?)\s*(==|!=)\s*(.*?)\s*$/u.exec(text) ?? [];
    if (operator === '' || value === '') {
      const expected = 'expected "ATTRIBUTE == VALUE" or "ATTRIBUTE != VALUE"';
      reader.problem(item, itemPath, `${expected}, found "${shorten(text)}"`);
      return [];
    }
    if (attribute === 'node.role') return roleConstraint(reader, item, itemPath, operator, value);
    if (isNodeAttribute(attribute)) return [{ attribute, operator: operator === '==' ? '==' : '!=', value }];
    reader.problem(item, itemPath, `"${shorten(attribute)}" is nothing that a node has; ${attributeRule}`);
    return [];
  });
}

/** Controllers run no tasks, so every node is what Swarm calls a worker. */
function roleConstraint(
  reader: ValueReader,
  node: TreeNode,
  path: string,
  operator: string,
  value: string,
): readonly Constraint[] {
  if ((value.toLowerCase() === 'worker') === (operator === '==')) {
    reader.findings.notice(node, path, 'without effect: every node is a worker here');
    return [];
  }
  const hint = 'label the nodes you mean (frota node label NODE role=front) and write "node.labels.role == front"';
  reader.problem(node, path, `no node is a manager here: controllers run no tasks; ${hint}`);
  return [];
}

function readPreferences(reader: ValueReader, node: TreeNode | undefined, path: string): readonly string[] {
  if (node === undefined) return [];
  return (reader.list(node, path)?.items ?? []).flatMap((item, index) => {
    const itemPath = `${path}[${String(index)}]`;
    const spread = reader.fields(item, itemPath, preferenceKeys)?.get('spread')?.value;
    const attribute = spread && reader.string(spread, joinPath(itemPath, 'spread'));
    if (spread === undefined) {
      reader.problem(item, itemPath, 'expected "spread: node.labels.NAME"');
      return [];
    }
    if (attribute === undefined || isNodeAttribute(attribute)) return attribute === undefined ? [] : [attribute];
    reader.problem(
      spread,
      joinPath(itemPath, 'spread'),
      `"${shorten(attribute)}" is nothing that a node has; ${attributeRule}`,
    );
    return [];
  });
}
