/** Drills: checked before they begin, followed by who runs them, stopped by anybody. */
import { FrotaError } from '../../proto/base/errors.ts';
import type {
  DrillProgress,
  FollowDrillRequest,
  ListDrillsReply,
  ListDrillsRequest,
  RunDrillRequest,
  StopDrillReply,
} from '../../proto/codec/drills.ts';
import { maxDrillMs, maxProbesPerSecond, minDrillMs, noSuchDrill } from '../../proto/domain/drill.ts';
import type { Drill } from '../../proto/domain/drill.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { preflight } from '../drills/preflight.ts';
import type { Drills } from '../drilling/ports.ts';
import type { Plan, Snapshot } from '../plan/snapshot.ts';

export interface DrillPorts {
  readonly snapshot: () => Snapshot;
  /** By node id. */
  readonly liveness: () => ReadonlyMap<string, NodeLiveness>;
  readonly drills: Drills;
  /** What the plan would do of this snapshot, were the nodes so. */
  readonly planFor: (liveness: ReadonlyMap<string, NodeLiveness>) => Plan;
  /** 0 ≤ draw < 1. */
  readonly draw: () => number;
}

interface Caller {
  readonly name: string;
  readonly signal: AbortSignal;
}

export async function* runDrill(
  ports: DrillPorts,
  request: RunDrillRequest,
  caller: Caller,
): AsyncIterable<DrillProgress> {
  checkRequest(request);
  const { drills, planFor } = ports;
  const checked = preflight(request, {
    snapshot: ports.snapshot(),
    liveness: ports.liveness(),
    planFor,
    running: drills.running(),
    draw: ports.draw(),
  });
  if (checked.kind === 'refused') {
    yield checked;
    return;
  }
  if (request.dryRun) {
    yield { kind: 'planned', plan: checked.plan };
    return;
  }
  const { id } = await drills.begin(checked.plan, caller.name);
  yield* followed(drills, id, true, caller);
}

export const followDrill = (
  { drills }: DrillPorts,
  { id, owner }: FollowDrillRequest,
  caller: Caller,
): AsyncIterable<DrillProgress> => followed(drills, id, owner, caller);

export async function listDrills({ drills }: DrillPorts, { id }: ListDrillsRequest): Promise<ListDrillsReply> {
  const all = (await drills.list()).map(withoutKey);
  if (id === undefined) return { drills: all };
  const found = all.filter((drill) => drill.id === id);
  if (found.length === 0) throw noSuchDrill(id);
  return { drills: found };
}

export async function stopDrill({ drills }: DrillPorts, id: string, by: string): Promise<StopDrillReply> {
  return { drill: withoutKey(await drills.stop(id, `stopped by ${by}`)) };
}

async function* followed(drills: Drills, id: string, owner: boolean, caller: Caller): AsyncIterable<DrillProgress> {
  let last: Drill | undefined;
  try {
    for await (const drill of drills.follow(id, caller.signal)) {
      last = drill;
      yield { kind: 'drill', drill: withoutKey(drill) };
    }
  } finally {
    // Nobody is there any more who would see what happens.
    if (owner && last?.state !== 'ended') void drills.stop(id, `${caller.name}, who ran it, has left`);
  }
}

/** What ends the fault is between this controller and the process that undoes it. */
function withoutKey({ stop: _, ...shown }: Drill): Drill {
  return shown;
}

function checkRequest({ forMs, perSecond, path }: RunDrillRequest): void {
  if (forMs < minDrillMs || forMs > maxDrillMs) {
    throw new FrotaError('invalid', `a drill lasts between ${String(minDrillMs / 1_000)} s and an hour`);
  }
  if (perSecond < 1 || perSecond > maxProbesPerSecond) {
    throw new FrotaError('invalid', `between 1 and ${String(maxProbesPerSecond)} requests a second can be asked`);
  }
  if (!/^\/[\x21-\x7e]*$/u.test(path)) throw new FrotaError('invalid', `"${path}" is no path such as /healthz`);
}
