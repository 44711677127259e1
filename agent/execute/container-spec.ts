/** PURE: from a task, its image and its place in the network to the container's spec. */
import { FrotaError } from '../../proto/base/errors.ts';
import type { AssignedTask } from '../../proto/domain/assignment.ts';
import { serviceId } from '../../proto/domain/service.ts';
import { slotName } from '../../proto/domain/task.ts';
import type { Image } from '../images/images.ts';
import type { Attachment } from '../network/network.ts';
import type { ContainerSpec } from '../runtime/runtime.ts';

export function containerSpec(
  task: AssignedTask,
  image: Image,
  attachment: Attachment,
  { files, mounts }: Pick<ContainerSpec, 'files' | 'mounts'>,
): ContainerSpec {
  const template = task.template;
  return {
    id: task.id,
    slot: slotName(serviceId(task.stack, task.service), task.slot),
    lowerDirs: image.lowerDirs,
    args: processArguments(task, image),
    environment: mergeEnvironment(image.config.environment, { ...template.environment, ...fenceVariable(task) }),
    workingDir: template.workingDir ?? (image.config.workingDir === '' ? '/' : image.config.workingDir),
    user: template.user ?? image.config.user,
    hostname: task.id,
    labels: template.labels,
    limits: template.limits,
    networkNamespace: attachment.namespace,
    files,
    mounts,
  };
}

/** As in Docker: a given entrypoint also clears the image's command. @throws FrotaError `invalid` when nothing is left to run. */
function processArguments(task: AssignedTask, image: Image): readonly string[] {
  const { entrypoint, command } = task.template;
  const args =
    entrypoint === undefined
      ? [...image.config.entrypoint, ...(command ?? image.config.command)]
      : [...entrypoint, ...(command ?? [])];
  if (args.length === 0) {
    throw new FrotaError(
      'invalid',
      `image ${task.template.image.reference} names no command to run; give the service "command" or "entrypoint"`,
    );
  }
  return args;
}

/** Greater with each container of its slot: whatever it writes to can refuse one that was believed to be gone. */
const fenceVariable = ({ fence }: AssignedTask): Readonly<Record<string, string>> =>
  fence === undefined ? {} : { FROTA_FENCE: String(fence) };

/** The service's values over the image's; the image's order is kept. */
function mergeEnvironment(image: readonly string[], service: Readonly<Record<string, string>>): readonly string[] {
  const merged = new Map<string, string>();
  for (const entry of image) {
    const at = entry.indexOf('=');
    if (at > 0) merged.set(entry.slice(0, at), entry.slice(at + 1));
  }
  for (const [key, value] of Object.entries(service)) merged.set(key, value);
  return [...merged].map(([key, value]) => `${key}=${value}`);
}
