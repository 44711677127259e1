/** The named volumes of a template: what makes its slots belong to nodes. */
import type { TaskTemplate } from '../../proto/domain/service.ts';

/** By the volume's name in the cluster. */
export function namedVolumes({ mounts }: TaskTemplate): readonly string[] {
  return mounts.flatMap((mount) => (mount.kind === 'volume' && mount.volume !== undefined ? [mount.volume] : []));
}
