/** What a container finds at a path besides its image. */
export type Mount =
  | {
      readonly kind: 'volume';
      /** The volume's name in the cluster (`stack_name`, or as declared `external` or with `name`); absent: an anonymous volume, which ends with its task. */
      readonly volume?: string;
      readonly target: string;
      readonly readOnly: boolean;
      /** Without it a new volume gets what the image has at `target`, as in Docker. */
      readonly noCopy: boolean;
      /** A folder within the volume. */
      readonly subpath?: string;
    }
  | {
      readonly kind: 'bind';
      /** Absolute path on the node. */
      readonly source: string;
      readonly target: string;
      readonly readOnly: boolean;
      /** A missing source is made as a folder (Compose's short form) instead of being an error. */
      readonly createSource: boolean;
    }
  | {
      readonly kind: 'tmpfs';
      readonly target: string;
      readonly readOnly: boolean;
      /** Absent: half of the node's memory, the kernel's own default. */
      readonly sizeBytes?: number;
      /** Permission bits; absent: 1777. */
      readonly mode?: number;
    };

/** A config or a secret as a file of the container, in memory, never on the node's disk. */
export interface FileMount {
  readonly kind: 'config' | 'secret';
  /** As declared in the stack. */
  readonly name: string;
  /** Identity of the content: equal ids are equal contents. Empty until `controller/api` has stored it. A secret's id does not betray its content. */
  readonly contentId: string;
  /** Absolute path in the container. */
  readonly target: string;
  /** Numeric ids, as text may not be known in the image; absent: 0. */
  readonly uid?: number;
  readonly gid?: number;
  /** Permission bits; absent: 0444. */
  readonly mode?: number;
}
