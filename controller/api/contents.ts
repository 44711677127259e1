/** PURE: gives each config and secret of a stack the id of its content, as tags get the digests of their images. */
import type { Problem } from '../../proto/base/errors.ts';
import { contentWhere, validateContents } from '../../proto/domain/content.ts';
import type { Content } from '../../proto/domain/content.ts';
import type { FileMount } from '../../proto/domain/mount.ts';
import type { ServiceSpec, StackSpec } from '../../proto/domain/service.ts';

export interface ContentInput {
  /** What came with the apply. */
  readonly sent: readonly Content[];
  /** The stack as it is declared now: what it names already need not be sent again. */
  readonly current: StackSpec | undefined;
  readonly isStored: (id: string) => boolean;
  /** Equal contents have equal ids. */
  readonly idOf: (content: Content) => string;
}

export interface FilledStack {
  readonly spec: StackSpec;
  /** By id: what the stack names of that which was sent; written before the stack is. */
  readonly contents: ReadonlyMap<string, Content>;
  readonly problems: readonly Problem[];
}

export function fillContents(declared: StackSpec, input: ContentInput): FilledStack {
  const problems: Problem[] = [...validateContents(input.sent)];
  const contents = new Map<string, Content>();
  const sent = new Map(input.sent.map((content) => [contentWhere(content), content]));
  const ids = new Map<string, string>();
  const known = knownIds(input.current);
  const idFor = (file: FileMount): string | undefined => {
    const where = contentWhere(file);
    const content = sent.get(where);
    if (content !== undefined) {
      const id = ids.get(where) ?? input.idOf(content);
      ids.set(where, id);
      contents.set(id, content);
      return id;
    }
    const id = file.contentId === '' ? known.get(where) : file.contentId;
    return id !== undefined && input.isStored(id) ? id : undefined;
  };
  const fill = (service: ServiceSpec): ServiceSpec => {
    const files = service.template.files.map((file) => {
      const contentId = idFor(file);
      if (contentId !== undefined) return { ...file, contentId };
      problems.push({ where: `services.${service.name}.${contentWhere(file)}`, message: missing(file) });
      return file;
    });
    return { ...service, template: { ...service.template, files } };
  };
  return { spec: { ...declared, services: declared.services.map(fill) }, contents, problems };
}

function knownIds(current: StackSpec | undefined): ReadonlyMap<string, string> {
  const files = current?.services.flatMap(({ template }) => template.files) ?? [];
  return new Map(files.map((file) => [contentWhere(file), file.contentId]));
}

function missing({ kind, name, contentId }: FileMount): string {
  if (contentId !== '')
    return `the cluster does not have the content ${contentId} of ${kind} ${name} any more; send it again`;
  return `the content of ${kind} ${name} neither came with the stack nor is known from before; send it`;
}
