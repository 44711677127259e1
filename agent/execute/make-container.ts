/** What a container is made of, brought together: its files, its mounts, its spec; then the runtime makes it. */
import type { AssignedTask } from '../../proto/domain/assignment.ts';
import type { Image } from '../images/images.ts';
import type { Attachment } from '../network/network.ts';
import { containerSpec } from './container-spec.ts';
import type { ActorPorts } from './ports.ts';

export async function makeContainer(
  ports: Pick<ActorPorts, 'files' | 'mounts' | 'runtime'>,
  { task, image, attachment }: { task: AssignedTask; image: Image; attachment: Attachment },
  wait: { readonly signal: AbortSignal; readonly onWait: (reason: string) => void },
): Promise<void> {
  const files = await ports.files.prepare(task, attachment);
  const mounted = await ports.mounts.prepare(task, image, wait);
  try {
    // The task's own come last: a config at /etc/hosts is what it asked for.
    const given = { files: [...files, ...mounted.files], mounts: mounted.mounts };
    await ports.runtime.create(containerSpec(task, image, attachment, given), wait.signal);
  } finally {
    await mounted.settle();
  }
}
