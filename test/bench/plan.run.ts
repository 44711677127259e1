/** How long a pass takes with 10,000 nodes and 100,000 tasks in 1,000 services: to place them all, when nothing happens, and when nodes die. */
import { expect, it } from 'vitest';
import { plan } from '../../controller/plan/plan.ts';
import type { Plan, Snapshot } from '../../controller/plan/snapshot.ts';
import { rememberHashes } from '../../controller/plan/template-hashes.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { commitChanges } from '../builders/commit.ts';
import { aPlanInput, sha256, startMs } from '../builders/domain.ts';
import { aFleet, allRunning, fleetLiveness } from '../builders/fleet.ts';
import type { FleetKind } from '../builders/fleet.ts';
import { heapMiB, report, timed } from './samples.ts';

const size = { nodes: 10_000, services: 1_000, tasks: 100_000 };
const lostNodes = size.nodes / 20;
const rounds = Number(process.env['ROUNDS'] ?? '5');
/** Placements a second that issue 4 asks for, on one core. */
const floors: Readonly<Record<FleetKind, number>> = { plain: 50_000, constrained: 10_000 };

/** As the controller has it: from the second pass on it has seen the templates. */
const templateHash = rememberHashes(sha256);

/** Ids of as many letters as the controller's own. */
function pass(snapshot: Snapshot, liveness: ReadonlyMap<string, NodeLiveness>, wall = startMs + 60_000): Plan {
  let count = snapshot.revision * 1_000;
  const newId = (): string => `t${String((count += 1)).padStart(11, '0')}`;
  return plan(snapshot, aPlanInput(snapshot, { liveness, newId, wall, templateHash }));
}

const placements = ({ changes }: Plan): number =>
  changes.reduce(
    (sum, change) => sum + Number(change.kind === 'put-task' && change.node !== undefined && change.modRevision === 0),
    0,
  );

/** Until a pass changes nothing; agents do at once what they are told. */
function settle(first: Snapshot, liveness: ReadonlyMap<string, NodeLiveness>) {
  let snapshot = first;
  let [passes, placed, changes] = [0, 0, 0];
  for (; passes < 10; passes += 1) {
    const result = pass(snapshot, liveness);
    if (result.changes.length === 0) break;
    placed += placements(result);
    changes += result.changes.length;
    snapshot = allRunning(commitChanges(snapshot, result.changes).snapshot);
  }
  return { snapshot, passes, placed, changes };
}

/** `replicas` one more for the service of middle size. */
function scaledByOne(snapshot: Snapshot): Snapshot {
  const [name, stored] = [...snapshot.stacks][25] ?? [];
  if (name === undefined || stored === undefined) throw new Error('the fleet has too few stacks');
  const [first, ...rest] = stored.value.spec.services;
  if (first === undefined) throw new Error('the stack has no service');
  const spec = { ...stored.value.spec, services: [{ ...first, replicas: first.replicas + 1 }, ...rest] };
  const stacks = new Map([...snapshot.stacks, [name, { ...stored, value: { ...stored.value, spec } }]]);
  return { ...snapshot, stacks, revision: snapshot.revision + 1 };
}

it.each(['plain', 'constrained'] as const)('%s', (kind) => {
  const fleet = aFleet(size, kind);
  const heard = fleetLiveness(fleet);
  const before = heapMiB();
  const whole = timed(rounds, () => pass(fleet, heard));
  report(`${kind}: ${String(size.tasks)} tasks placed in one pass`, whole.wallMs, 0);
  report(`${kind}: the same, CPU time`, whole.cpuMs, 0);
  for (const [what, samples] of [
    ['', whole.wallMs],
    [' of CPU time', whole.cpuMs],
  ] as const) {
    const rates = samples.map((ms) => (placements(whole.last) / ms) * 1_000).sort((a, b) => a - b);
    const median = (rates[rates.length >> 1] ?? 0).toFixed(0);
    process.stdout.write(
      `${kind}: ${median} placements a second${what}, median (asked for: ${String(floors[kind])})\n`,
    );
  }
  expect(placements(whole.last)).toBe(size.tasks);
  expect(whole.last.reasons.size).toBe(0);

  const running = allRunning(commitChanges(fleet, whole.last.changes).snapshot);
  process.stdout.write(`${kind}: heap ${(heapMiB() - before).toFixed(0)} MiB more with all tasks in the snapshot\n`);
  const idle = timed(rounds, () => pass(running, heard));
  report(`${kind}: a pass in which nothing changes`, idle.wallMs, 1);
  report(`${kind}: the same, CPU time`, idle.cpuMs, 1);
  expect(idle.last.changes).toHaveLength(0);
  const scaled = scaledByOne(running);
  const one = timed(rounds, () => pass(scaled, heard));
  report(`${kind}: a pass that places one task more`, one.wallMs, 1);
  report(`${kind}: the same, CPU time`, one.cpuMs, 1);
  expect(placements(one.last)).toBe(1);

  const lost = fleetLiveness(fleet, lostNodes);
  const loss = timed(rounds, () => pass(running, lost));
  report(`${kind}: the pass after ${String(lostNodes)} nodes died`, loss.wallMs, 0);
  report(`${kind}: the same, CPU time`, loss.cpuMs, 0);
  const settled = settle(running, lost);
  process.stdout.write(
    `${kind}: ${String(settled.placed)} tasks placed elsewhere, ${String(settled.changes)} changes, in ${String(settled.passes)} passes\n`,
  );
  expect(settled.placed).toBeGreaterThan(0);
  expect(pass(settled.snapshot, lost).changes).toHaveLength(0);
});
