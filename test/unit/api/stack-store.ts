/** A store of stacks with revisions and their history, as the ports of the use-cases promise it. */
import type { StackPorts } from '../../../controller/api/stacks.ts';
import { monoMs, wallMs } from '../../../proto/base/clock.ts';
import type { ContentFacts } from '../../../proto/domain/content.ts';
import type { Revision } from '../../../proto/domain/revision.ts';
import type { Service, Stack } from '../../../proto/domain/service.ts';
import { aSnapshot } from '../../builders/domain.ts';

export const clock = { now: () => ({ monoMs: monoMs(0), wallMs: wallMs(5_000) }) };
export const digest = `sha256:${'b'.repeat(64)}`;

export function stacks(over: Partial<StackPorts> = {}) {
  const stored = new Map<string, { value: Stack; modRevision: number }>();
  const history = new Map<string, Revision[]>();
  const services: Service[] = [];
  const contents: ContentFacts[] = [];
  let modified = 0;
  const asked: string[] = [];
  const ports: StackPorts = {
    snapshot: () => ({ ...aSnapshot({ services, contents }), stacks: new Map(stored) }),
    resolveImage: (reference) => {
      asked.push(reference);
      return Promise.resolve({ reference, digest });
    },
    putStack: (name, revision, modRevision) => {
      if ((stored.get(name)?.modRevision ?? 0) !== modRevision) return Promise.resolve(false);
      modified += 1;
      if (revision === undefined) {
        stored.delete(name);
        history.delete(name);
      } else {
        stored.set(name, { value: revision.stack, modRevision: modified });
        history.set(name, [...(history.get(name) ?? []), revision]);
      }
      return Promise.resolve(true);
    },
    history: (stack) => Promise.resolve(history.get(stack) ?? []),
    contentId: () => '',
    putContents: () => Promise.resolve(),
    clock,
    ...over,
  };
  return { ports, stored, history, services, contents, asked };
}
