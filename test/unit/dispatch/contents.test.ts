import { describe, expect, it } from 'vitest';
import { contentsFor } from '../../../controller/dispatch/contents.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { maxContentBytes } from '../../../proto/domain/content.ts';
import { aNode, aSnapshot, aStatus, aTask, aTemplate } from '../../builders/domain.ts';

const template = (...ids: readonly string[]) =>
  aTemplate({ files: ids.map((contentId) => ({ kind: 'secret', name: 's', contentId, target: `/${contentId}` })) });
const snapshot = aSnapshot({
  nodes: [aNode('n1'), aNode('n2')],
  tasks: [
    aTask({ id: 'mine', nodeId: 'id-n1', template: template('a', 'b') }),
    aTask({ id: 'theirs', slot: 2, nodeId: 'id-n2', template: template('c') }),
    aTask({ id: 'ended', slot: 3, nodeId: 'id-n1', template: template('d') }),
    aTask({ id: 'lost', slot: 4, nodeId: 'id-n1', orphaned: true, desired: 'shutdown', template: template('e') }),
    aTask({ id: 'waits', slot: 5, template: template('f') }),
  ],
  statuses: [aStatus('mine', 'preparing'), aStatus('ended', 'failed')],
});

const ask = (ids: readonly string[], nodeId = 'id-n1', size = 1) =>
  contentsFor(
    { snapshot: () => snapshot, readContent: (id) => Promise.resolve({ id, bytes: new Uint8Array(size) }) },
    nodeId,
    ids,
  );
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'answered',
    (error: unknown) => FrotaError.from(error).code,
  );

describe('contents for a node', () => {
  it('are those that its own tasks need now, and no others', async () => {
    expect((await ask(['b', 'a'])).map(({ id }) => id)).toEqual(['b', 'a']);
    for (const id of ['c', 'd', 'e', 'f', 'unheard of']) expect(await codeOf(ask([id])), id).toBe('forbidden');
    expect(await codeOf(ask(['a', 'c']))).toBe('forbidden');
    expect(await codeOf(ask(['a'], 'id-n2'))).toBe('forbidden');
    expect(await codeOf(ask(['a'], 'stranger'))).toBe('forbidden');
  });

  it('come in messages of a bounded size, at least one each time', async () => {
    const many = Array.from({ length: 20 }, () => 'a');
    const first = await ask(many, 'id-n1', maxContentBytes);
    expect(first.length).toBeLessThan(20);
    expect(first.length * maxContentBytes).toBeLessThan(7 * 1024 * 1024);
    expect(await ask(['a'], 'id-n1', 8 * 1024 * 1024)).toHaveLength(1);
    expect(await codeOf(ask(Array.from({ length: 1_000 }, () => 'a')))).toBe('invalid');
  });
});
