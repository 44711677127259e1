/** The faults themselves. What may hit this very process comes last in each: what is written after it is not carried out. */
import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import type { DrillKind, UndoStep } from '../../proto/domain/drill.ts';
import { cgroupPids, detectCgroupLayout, killCgroup } from '../host/cgroups.ts';
import { identifyPid, readBootId, readCommandLine } from '../host/processes.ts';
import { run } from '../host/programs.ts';
import { cutController, cutLink, faultTable } from './fault-rules.ts';
import type { ControllerPlace } from './fault-rules.ts';
import { freeze } from './freezer.ts';

/** What a fault needs to know of this node. */
export interface Grounds {
  /** Under which the others reach it. */
  readonly address: string;
  readonly livenessPort: number;
  /** `containers/ID` and `conmon` are below it. */
  readonly cgroupParent: string;
  readonly controller: () => ControllerPlace | undefined;
}

const containersOf = ({ cgroupParent }: Grounds): string => join(cgroupParent, 'containers');
const frozenGroups = (grounds: Grounds): readonly string[] => [
  containersOf(grounds),
  join(grounds.cgroupParent, 'conmon'),
];

/** Known before the fault, so that it can be written down before it. @throws FrotaError where this node can't be hurt so. */
export async function undoSteps(kind: DrillKind, drillId: string, grounds: Grounds): Promise<readonly UndoStep[]> {
  switch (kind) {
    case 'node-loss':
      uplinkOf(grounds.address);
      return [{ kind: 'delete-table', table: faultTable(drillId) }];
    case 'partition':
      placeOf(grounds);
      return [{ kind: 'delete-table', table: faultTable(drillId) }];
    case 'node-freeze': {
      const self = await identifyPid(process.pid, await readBootId());
      if (self === undefined) throw new FrotaError('internal', 'this process is not in /proc');
      const { pid, startTicks } = self;
      return [
        { kind: 'continue', pid, startTicks },
        { kind: 'thaw', cgroups: frozenGroups(grounds) },
      ];
    }
    case 'agent-kill': {
      const program = await readCommandLine(process.pid);
      return [{ kind: 'run-again', program, cwd: process.cwd() }];
    }
    case 'container-kill':
      return [];
    case 'controller-kill':
      throw new FrotaError('invalid', 'a controller is hurt where it runs, not by an agent');
  }
}

/** `stopPort`: where the undoing process listens. @throws FrotaError when it could not be done. */
export async function inject(
  kind: DrillKind,
  {
    drillId,
    taskId,
    stopPort,
  }: { readonly drillId: string; readonly taskId: string | undefined; readonly stopPort: number },
  grounds: Grounds,
): Promise<void> {
  switch (kind) {
    case 'node-loss':
      await run('nft', ['-f', '-'], { input: cutLink(drillId, uplinkOf(grounds.address), stopPort) });
      await killCgroup(await detectCgroupLayout(), containersOf(grounds));
      return;
    case 'partition':
      await run('nft', ['-f', '-'], { input: cutController(drillId, placeOf(grounds), grounds.livenessPort) });
      return;
    case 'node-freeze':
      await freeze(frozenGroups(grounds));
      process.kill(process.pid, 'SIGSTOP');
      return;
    case 'agent-kill':
      process.kill(process.pid, 'SIGKILL');
      return;
    case 'container-kill':
      process.kill(await initOf(join(containersOf(grounds), taskId ?? '')), 'SIGKILL');
      return;
    case 'controller-kill':
      throw new FrotaError('invalid', 'a controller is hurt where it runs, not by an agent');
  }
}

/** The device that has the node's address. */
function uplinkOf(address: string): string {
  const found = Object.entries(networkInterfaces()).find(([, addresses]) =>
    addresses?.some((each) => each.address === address),
  );
  if (found !== undefined) return found[0];
  throw new FrotaError('unsupported', `no device of this node has its address ${address}: its link can't be cut`);
}

function placeOf({ controller }: Grounds): ControllerPlace {
  const place = controller();
  if (place === undefined) throw new FrotaError('unavailable', 'this node is connected to no controller');
  return place;
}

/** The one that is number 1 inside (proc_pid_status(5), NSpid). */
async function initOf(cgroup: string): Promise<number> {
  for (const pid of await cgroupPids(await detectCgroupLayout(), cgroup)) {
    const status = await readFile(`/proc/${String(pid)}/status`, 'utf8').catch(() => '');
    const ids = /^NSpid:\s*(.*)$/mu.exec(status)?.[1]?.trim().split(/\s+/u) ?? [];
    if (ids.length > 1 && ids.at(-1) === '1') return pid;
  }
  throw new FrotaError('not-found', `no container of this node runs in cgroup ${cgroup}`);
}
