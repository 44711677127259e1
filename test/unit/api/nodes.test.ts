import { describe, expect, it } from 'vitest';
import { updateNode } from '../../../controller/api/nodes.ts';
import type { NodeChange, NodePorts } from '../../../controller/api/nodes.ts';
import { maxLabelsPerNode } from '../../../proto/domain/node-labels.ts';
import type { Node } from '../../../proto/domain/node.ts';
import { aNode, aSnapshot } from '../../builders/domain.ts';

/** A store of nodes; `races`: so many writes find that somebody was first. */
function nodes(races = 0, list: readonly Node[] = [aNode('n1', { labels: { zone: 'north' } }), aNode('n2')]) {
  let snapshot = aSnapshot({ nodes: list });
  const written: Node[] = [];
  let left = races;
  const ports: NodePorts = {
    snapshot: () => snapshot,
    putNode: (node, modRevision) => {
      expect(modRevision).toBe(snapshot.nodes.get(node.id)?.modRevision);
      if (left > 0) {
        left -= 1;
        // What somebody else wrote meanwhile: the drain must not undo it.
        const other = { ...(snapshot.nodes.get(node.id)?.value ?? node), labels: { other: 'yes' } };
        snapshot = {
          ...snapshot,
          nodes: new Map([...snapshot.nodes, [node.id, { value: other, modRevision: modRevision + 1 }]]),
        };
        return Promise.resolve(false);
      }
      written.push(node);
      return Promise.resolve(true);
    },
  };
  return { ports, written };
}
const change = (over: Partial<NodeChange> = {}): NodeChange => ({ setLabels: {}, removeLabels: [], ...over });

describe('a node', () => {
  it('is named or given by its id; what is not said stays', async () => {
    const { ports, written } = nodes();
    await updateNode(ports, 'n1', change({ availability: 'drain' }));
    await updateNode(ports, 'id-n2', change({ setLabels: { disk: 'ssd' } }));
    expect(written).toEqual([
      aNode('n1', { labels: { zone: 'north' }, availability: 'drain' }),
      aNode('n2', { labels: { disk: 'ssd' } }),
    ]);
  });

  it('gets and loses labels in one write; one that is not there is gone already', async () => {
    const { ports, written } = nodes();
    await updateNode(ports, 'n1', change({ setLabels: { disk: 'ssd' }, removeLabels: ['zone', 'none'] }));
    expect(written).toEqual([aNode('n1', { labels: { disk: 'ssd' } })]);
  });

  it('is not written where nothing changes', async () => {
    const { ports, written } = nodes();
    await updateNode(ports, 'n1', change({ availability: 'active', setLabels: { zone: 'north' } }));
    expect(written).toEqual([]);
  });

  it('is changed on top of what somebody else wrote at the same moment, and given up in time', async () => {
    const { ports, written } = nodes(2);
    await updateNode(ports, 'n1', change({ availability: 'drain' }));
    expect(written).toEqual([aNode('n1', { labels: { other: 'yes' }, availability: 'drain' })]);
    await expect(updateNode(nodes(99).ports, 'n1', change({ availability: 'drain' }))).rejects.toThrow(/somebody else/);
  });

  it.each<[string, string, Partial<NodeChange>, RegExp]>([
    ['an unknown one', 'n11', {}, /there is no node "n11"; did you mean n1\?/],
    ['one that resembles none', 'web-server', {}, /there are: n1, n2$/],
    ['a label without a name', 'n1', { setLabels: { '': 'x' } }, /"" is no name of a label/],
    ['a name of blanks', 'n1', { setLabels: { 'a b': 'x' } }, /"a b" is no name of a label/],
    ['a name too long for a constraint', 'n1', { removeLabels: ['a'.repeat(129)] }, /is no name of a label/],
    ['a long value', 'n1', { setLabels: { a: 'x'.repeat(257) } }, /value of a has 257 characters/],
    ['control characters', 'n1', { setLabels: { a: 'x\u001b[31m' } }, /control character/],
    ['a label set and removed', 'n1', { setLabels: { a: 'x' }, removeLabels: ['a'] }, /set and removed at once/],
    [
      'too many labels',
      'n1',
      {
        setLabels: Object.fromEntries(
          Array.from({ length: maxLabelsPerNode }, (_, index) => [`l${String(index)}`, '']),
        ),
      },
      /would have 65 labels; at most 64/,
    ],
  ])('refuses %s', async (_, name, over, expected) => {
    const { ports, written } = nodes();
    await expect(updateNode(ports, name, change(over))).rejects.toThrow(expected);
    expect(written).toEqual([]);
  });

  it('is told of when none has joined', async () => {
    await expect(updateNode(nodes(0, []).ports, 'n1', change())).rejects.toThrow(/no node has joined yet/);
  });
});
