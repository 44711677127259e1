import type { NetworkSpec, VolumeSpec } from '../../proto/domain/stack-parts.ts';
import type { FileMount } from '../../proto/domain/mount.ts';
import type { Position } from './problem.ts';

/** Where the content of a config or secret comes from; a file's path is as written, relative to the Compose file. */
export type ContentOrigin =
  { readonly kind: 'file'; readonly path: string } | { readonly kind: 'text'; readonly text: string };

/** A config or secret of the file's top level, to be sent with the stack. */
export interface DeclaredContent extends Position {
  readonly kind: FileMount['kind'];
  /** As the file calls it; service references and `FileMount.name` use it. */
  readonly key: string;
  /** `configs.site`, for what goes wrong when its file is read. */
  readonly path: string;
  readonly origin: ContentOrigin;
}

/** What the services of a file may refer to: the rest of its top level, by key. */
export interface StackScope {
  readonly networks: ReadonlyMap<string, NetworkSpec>;
  readonly volumes: ReadonlyMap<string, VolumeSpec>;
  readonly configs: ReadonlyMap<string, DeclaredContent>;
  readonly secrets: ReadonlyMap<string, DeclaredContent>;
}
