/** Chooses the OCI runtime once, at start; one that can't run here is refused with its reason. */
import { FrotaError, describeError, type Problem } from '../../../proto/base/errors.ts';
import type { CgroupLayout } from '../../host/cgroups.ts';
import { findPrograms, run } from '../../host/programs.ts';

export type RuntimeName = 'runc' | 'crun';

export interface ChosenRuntime {
  readonly name: RuntimeName;
  readonly path: string;
  /** First line of `--version`. */
  readonly version: string;
}

/** crun makes a container in half of runc's time. */
const preference: readonly RuntimeName[] = ['crun', 'runc'];

/** `forced`: this one or none. Throws `unsupported` with the reason of each that was refused. */
export async function chooseRuntime(
  layout: CgroupLayout,
  capabilityBounds: bigint,
  forced?: RuntimeName,
): Promise<ChosenRuntime> {
  const refused: Problem[] = [];
  for (const name of forced === undefined ? preference : [forced]) {
    const result = await probe(name, refusal(name, layout.kind, capabilityBounds));
    if (typeof result !== 'string') return result;
    refused.push({ where: name, message: result });
  }
  const reasons = refused.map(({ where, message }) => `${where}: ${message}`).join('; ');
  throw new FrotaError('unsupported', `no OCI runtime can run here (${reasons})`, { problems: refused });
}

/** The runtime, or why it can't be used. */
async function probe(name: RuntimeName, reason: string | undefined): Promise<ChosenRuntime | string> {
  if (reason !== undefined) return reason;
  const path = (await findPrograms([name])).found.get(name);
  if (path === undefined) return `not installed; run: apt-get install ${name}`;
  try {
    const { stdout } = await run(path, ['--version']);
    return { name, path, version: stdout.split('\n')[0] ?? '' };
  } catch (error) {
    return describeError(error);
  }
}

/** PURE: what is known to make a runtime fail on a host of this kind (crun 1.8.1). */
export function refusal(name: RuntimeName, kind: CgroupLayout['kind'], capabilityBounds: bigint): string | undefined {
  if (name !== 'crun') return undefined;
  if (kind === 'hybrid') return 'it does not know the hybrid cgroup layout; use runc, or boot with cgroup v2';
  // It raises the limit of locked memory to load its device filter.
  if (kind === 'v2' && ((capabilityBounds >> capSysResource) & 1n) === 0n) {
    return 'it needs CAP_SYS_RESOURCE on cgroup v2, which this process lacks; use runc';
  }
  return undefined;
}

/** Bit number in a capability set (capability.h). */
const capSysResource = 24n;
