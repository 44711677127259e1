import { describe, expect, it } from 'vitest';
import { plan } from '../../../controller/plan/plan.ts';
import { contentGraceMs } from '../../../controller/plan/reap-contents.ts';
import { commitChanges } from '../../builders/commit.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import { contentIdsOf } from '../../../proto/domain/content.ts';
import type { FileMount } from '../../../proto/domain/mount.ts';
import {
  aNode, aPlanInput, aService, aServiceSpec, aSnapshot, aStack, aStackSpec, aStatus, aTask, aTemplate, startMs,
} from '../../builders/domain.ts'; // prettier-ignore
import type { SnapshotParts } from '../../builders/domain.ts';

const file = (contentId: string): FileMount => ({ kind: 'secret', name: 'token', contentId, target: '/t' });
const template = (...ids: readonly string[]) => aTemplate({ files: ids.map(file) });
const old = (id: string, writtenAtMs = startMs - contentGraceMs) => ({ id, kind: 'secret' as const, writtenAtMs });

const world = (parts: SnapshotParts): Snapshot => aSnapshot({ nodes: [aNode('n1')], ...parts });
function deleted(snapshot: Snapshot, wall = startMs): readonly string[] {
  const { changes } = plan(snapshot, aPlanInput(snapshot, { wall }));
  return changes.flatMap((change) => (change.kind === 'delete-content' ? [change.id] : []));
}

describe('contents that nothing refers to', () => {
  it('go; what a stack declares, a rollback would need or a task may still use stays', () => {
    const declared = aServiceSpec({ template: template('secret-declared') });
    const previous = template('secret-previous');
    const snapshot = world({
      stacks: [aStack('shop', [declared])],
      services: [aService({ previous })],
      tasks: [
        aTask({ id: 'stopping', slot: 2, nodeId: 'id-n1', desired: 'shutdown', template: template('secret-stopping') }),
        aTask({ id: 'ended', slot: 3, nodeId: 'id-n1', desired: 'shutdown', template: template('secret-ended') }),
      ],
      statuses: [aStatus('stopping', 'running'), aStatus('ended', 'shutdown')],
      contents: ['declared', 'previous', 'stopping', 'ended', 'nobody'].map((name) => old(`secret-${name}`)),
    });
    expect(deleted(snapshot)).toEqual(['secret-ended', 'secret-nobody']);
  });

  it('go with the last task of a stack that was removed', () => {
    const task = aTask({ nodeId: 'id-n1', template: template('secret-a') });
    const parts = { tasks: [task], services: [aService()], contents: [old('secret-a')] };
    const running = world({ ...parts, statuses: [aStatus(task.id, 'running')] });
    expect(deleted(running)).toEqual([]);
    expect(deleted(world({ ...parts, statuses: [aStatus(task.id, 'shutdown')] }))).toEqual(['secret-a']);
  });

  it('stay while they are young, for an apply writes them first; the plan wakes when they are not', () => {
    const writtenAtMs = startMs - 1_000;
    const snapshot = world({ contents: [old('secret-new', writtenAtMs)] });
    const dueMs = writtenAtMs + contentGraceMs;
    expect(plan(snapshot, aPlanInput(snapshot)).wakeAtMs).toBe(dueMs);
    expect(deleted(snapshot, dueMs - 1)).toEqual([]);
    expect(deleted(snapshot, dueMs)).toEqual(['secret-new']);
  });

  it('are not deleted when they were written again meanwhile', () => {
    const snapshot = world({ contents: [old('secret-a')] });
    const { changes } = plan(snapshot, aPlanInput(snapshot));
    const renewed = { value: old('secret-a', startMs), modRevision: 9 };
    const after = commitChanges({ ...snapshot, contents: new Map([['secret-a', renewed]]) }, changes);
    expect(after).toMatchObject({ conflicts: 1 });
    expect(after.snapshot.contents.has('secret-a')).toBe(true);
  });
});

it('tells all contents that a stack refers to, once each, and none that is yet to be stored', () => {
  const services = [
    aServiceSpec({ name: 'api', template: template('a', 'b') }),
    aServiceSpec({ template: template('b', '') }),
  ];
  expect(contentIdsOf(aStackSpec('shop', services))).toEqual(new Set(['a', 'b']));
});
