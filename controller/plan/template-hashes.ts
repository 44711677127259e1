/** Hashes of templates that are asked for again in every pass, remembered as long as the snapshots show the same objects. */
import type { TaskTemplate } from '../../proto/domain/service.ts';
import { canonicalJson } from './canonical-json.ts';

/** Two templates with equal hashes are interchangeable. */
export type TemplateHash = (template: TaskTemplate) => string;

export const hashingWith =
  (hash: (text: string) => string): TemplateHash =>
  (template) =>
    hash(canonicalJson(template));

/** Gives what `hashingWith` gives. Snapshots share what has not changed, so a template is worked on once in its life. */
export function rememberHashes(hash: (text: string) => string): TemplateHash {
  const hashOf = hashingWith(hash);
  const known = new WeakMap<TaskTemplate, string>();
  return (template) => {
    const before = known.get(template);
    if (before !== undefined) return before;
    const text = hashOf(template);
    known.set(template, text);
    return text;
  };
}
