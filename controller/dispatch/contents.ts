/** Configs and secrets for the nodes that need them: a node gets the bytes of those only that its own tasks refer to. */
import { FrotaError } from '../../proto/base/errors.ts';
import { contentIdsOfTemplate } from '../../proto/domain/content.ts';
import type { FetchedContent } from '../../proto/domain/content.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import { assignedTasksOf } from './units.ts';

export interface ContentPorts {
  readonly snapshot: () => Snapshot;
  /** @throws FrotaError `not-found` when it is not stored any more. */
  readonly readContent: (id: string) => Promise<FetchedContent>;
}

/** A reply's bytes: one more content always fits, and with it the reply stays below the 8 MiB of a message. */
const maxReplyBytes = 4 * 1024 * 1024;
/** A node asks for what one task needs; more is no task's. */
const maxIdsPerRequest = 256;

/**
 * As many as fit into one reply, in the order asked for, at least one. `nodeId` comes from the caller's certificate.
 * @throws FrotaError `forbidden` for what no task of the node needs, which says nothing of whether it exists.
 */
export async function contentsFor(
  ports: ContentPorts,
  nodeId: string,
  ids: readonly string[],
): Promise<readonly FetchedContent[]> {
  if (ids.length > maxIdsPerRequest) {
    throw new FrotaError('invalid', `${String(ids.length)} contents at once are too many`);
  }
  const needed = new Set(
    assignedTasksOf(ports.snapshot(), nodeId).flatMap(({ template }) => contentIdsOfTemplate(template)),
  );
  const strange = ids.find((id) => !needed.has(id));
  if (strange !== undefined) {
    throw new FrotaError('forbidden', `no task of this node needs the content ${strange.slice(0, 80)}`);
  }
  const contents: FetchedContent[] = [];
  let bytes = 0;
  for (const id of ids) {
    const content = await ports.readContent(id);
    contents.push(content);
    bytes += content.bytes.length;
    if (bytes >= maxReplyBytes) break;
  }
  return contents;
}
