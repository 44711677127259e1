/** Contents of configs and secrets: as people send them with a stack, as the store keeps them, and what refers to them. */
import type { Problem } from '../base/errors.ts';
import type { FileMount } from './mount.ts';
import type { StackSpec, TaskTemplate } from './service.ts';

export type ContentKind = FileMount['kind'];

/** One config or secret that comes with an apply. Its bytes are for the containers: never in a log, an event or an error. */
export interface Content {
  readonly kind: ContentKind;
  /** As declared in the stack; a `FileMount` refers to it by kind and name. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** What is known of a stored content without its bytes; part of the snapshot. */
export interface ContentFacts {
  /** `config-` or `secret-` and 64 hexadecimal digits: equal ids are equal contents. */
  readonly id: string;
  readonly kind: ContentKind;
  /** Renewed by each apply that sends the content: one that is about to be referred to is never old. */
  readonly writtenAtMs: number;
}

/** Stored record. Writer: `controller/api` at apply; the plan deletes it once nothing refers to it any more. */
export interface ContentRecord extends ContentFacts {
  /** A config's bytes, or a secret's sealed ones. */
  readonly value: Uint8Array;
}

/** A content as a node gets it. */
export interface FetchedContent {
  readonly id: string;
  readonly bytes: Uint8Array;
}

/** As in Swarm (`MaxSecretSize`): a key, a certificate, a configuration file, never a data set. */
export const maxContentBytes = 500 * 1024;
/** Of one apply, all together: with the largest stack it stays below the 8 MiB that a message may have. */
export const maxContentsBytes = 6 * 1024 * 1024;

/** `configs.NAME`, `secrets.NAME`: where it stands in a Compose file. */
export const contentWhere = ({ kind, name }: Pick<Content, 'kind' | 'name'>): string => `${kind}s.${name}`;

/** Empty if all is well. Says nothing of what is in them. */
export function validateContents(contents: readonly Content[]): readonly Problem[] {
  const problems: Problem[] = [];
  const seen = new Set<string>();
  let total = 0;
  for (const content of contents) {
    const where = contentWhere(content);
    const { length } = content.bytes;
    total += length;
    if (content.name === '') problems.push({ where, message: `a ${content.kind} has no name` });
    if (seen.has(where)) problems.push({ where, message: `this ${content.kind} comes twice` });
    seen.add(where);
    if (length > maxContentBytes) {
      const message = `the ${content.kind} has ${String(length)} bytes; at most ${String(maxContentBytes)}`;
      problems.push({ where, message });
    }
  }
  if (total > maxContentsBytes) {
    const message = `configs and secrets have ${String(total)} bytes together; at most ${String(maxContentsBytes)} in one apply`;
    problems.push({ where: 'secrets', message });
  }
  return problems;
}

/** Ids of the contents that a container of this template gets. */
export const contentIdsOfTemplate = ({ files }: Pick<TaskTemplate, 'files'>): readonly string[] =>
  files.flatMap(({ contentId }) => (contentId === '' ? [] : [contentId]));

/** Ids of all contents that a stack refers to: what must be kept for as long as this specification is. */
export function contentIdsOf(spec: Pick<StackSpec, 'services'>): ReadonlySet<string> {
  return new Set(spec.services.flatMap(({ template }) => contentIdsOfTemplate(template)));
}
