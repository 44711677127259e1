/** Configs and secrets that nothing refers to any more go, but never one that an apply is about to refer to. */
import { contentIdsOf, contentIdsOfTemplate } from '../../proto/domain/content.ts';
import { isLive, tasksOf } from './draft.ts';
import type { Draft } from './draft.ts';
import type { Change } from './snapshot.ts';

/**
 * An apply writes its contents and then, within seconds, the stack that refers to them. So long after they were last
 * written none is still on its way.
 */
export const contentGraceMs = 10 * 60 * 1_000;

export function unusedContents(draft: Draft): readonly Change[] {
  if (draft.snapshot.contents.size === 0) return [];
  const used = usedContents(draft);
  const changes: Change[] = [];
  for (const [id, { value, modRevision }] of draft.snapshot.contents) {
    if (used.has(id)) continue;
    const dueMs = value.writtenAtMs + contentGraceMs;
    if (draft.input.now.wallMs >= dueMs) changes.push({ kind: 'delete-content', id, modRevision });
    else draft.wakeAtMs = Math.min(draft.wakeAtMs ?? Infinity, dueMs);
  }
  return changes;
}

/** What is declared, what an undo or a rollback would go back to, and what may still run. */
function usedContents(draft: Draft): ReadonlySet<string> {
  const used = new Set<string>();
  const use = (ids: Iterable<string>): void => {
    for (const id of ids) used.add(id);
  };
  for (const { value } of draft.snapshot.stacks.values()) {
    use(contentIdsOf(value.spec));
    use(value.keptContents.map(({ contentId }) => contentId));
  }
  // What is at rest uses what its stack declares.
  for (const service of draft.moving) {
    const previous = service.record?.previous;
    if (previous !== undefined) use(contentIdsOfTemplate(previous));
    for (const task of tasksOf(service)) if (isLive(task)) use(contentIdsOfTemplate(task.task.template));
  }
  return used;
}
