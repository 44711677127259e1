/** PURE: how an overlay mount names its layers, of which there may be more than one page of mount options has room for. */
import { dirname, relative } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';

/** mount(2) takes one page of options. */
const maxOptionBytes = 4_095;

export interface OverlayLayers {
  /** Working directory of the mount call: all names are relative to it, and therefore short. */
  readonly base: string;
  readonly options: string;
}

/**
 * `lowerDirs`: the topmost first. `more`: further options of which some are folders, `key → folder`, and a tail as it is.
 * @throws FrotaError `unsupported` when the layers don't fit into one mount call, or a folder's name can't be in one.
 */
export function overlayLayers(
  lowerDirs: readonly string[],
  more: { readonly folders?: Readonly<Record<string, string>>; readonly tail: string },
): OverlayLayers {
  const folders = Object.entries(more.folders ?? {});
  const all = [...lowerDirs, ...folders.map(([, folder]) => folder)];
  const base = commonFolder(all);
  const odd = all.find((path) => /[,:\\"\s]/.test(path));
  if (odd !== undefined) {
    throw new FrotaError('unsupported', `${odd}: an overlay can't be mounted from a folder with such a name`);
  }
  const lower = lowerDirs.map((path) => relative(base, path)).join(':');
  const named = folders.map(([key, folder]) => `${key}=${relative(base, folder)}`);
  const options = [`lowerdir=${lower}`, ...named, more.tail].join(',');
  if (Buffer.byteLength(options) > maxOptionBytes) {
    const count = String(lowerDirs.length);
    throw new FrotaError(
      'unsupported',
      `the image has ${count} layers, more than one mount can name; rebuild it with fewer`,
    );
  }
  return { base, options };
}

function commonFolder(paths: readonly string[]): string {
  let common = dirname(paths[0] ?? '/');
  while (common !== '/' && !paths.every((path) => path.startsWith(`${common}/`))) common = dirname(common);
  return common;
}
