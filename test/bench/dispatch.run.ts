/** Ten thousand sessions without sockets: what one changed endpoint costs, how large the units are, what a session keeps. */
import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { createDispatch } from '../../controller/dispatch/dispatch.ts';
import { plan } from '../../controller/plan/plan.ts';
import type { Snapshot } from '../../controller/plan/snapshot.ts';
import { reviseUnit, unitChange } from '../../proto/codec/assignment.ts';
import { controllerMessage } from '../../proto/codec/dispatch.ts';
import type { AgentMessage, ControllerMessage } from '../../proto/codec/dispatch.ts';
import type { RevisedUnit } from '../../proto/domain/assignment.ts';
import { commitChanges } from '../builders/commit.ts';
import { aDispatch } from '../builders/dispatch.ts';
import { aFacts, aPlanInput, startMs } from '../builders/domain.ts';
import { aFleet, allRunning, fleetLiveness } from '../builders/fleet.ts';
import { createOutbox } from '../fakes/outbox.ts';
import { heapMiB } from './samples.ts';

const size = { nodes: 10_000, services: 1_000, tasks: 100_000 };
/** gRPC refuses more in one message. */
const maxMessageBytes = 8 * 1024 * 1024;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const encodedBytes = (unit: RevisedUnit): number => unitChange.encode({ kind: 'unit', key: '', unit }).length;

function runningFleet(): Snapshot {
  const fleet = aFleet(size, 'constrained');
  const { changes } = plan(fleet, aPlanInput(fleet, { liveness: fleetLiveness(fleet), wall: startMs + 1_000 }));
  return allRunning(commitChanges(fleet, changes).snapshot);
}

/** One task of the service of middle size is unwell. */
function withoutOneEndpoint(snapshot: Snapshot): Snapshot {
  const task = [...snapshot.tasks.values()].find(({ value }) => value.service === 's500')?.value;
  const status = snapshot.statuses.get(task?.id ?? '');
  if (status === undefined) throw new Error('the fleet has no such service');
  const unwell = { ...status, health: 'unhealthy' as const };
  return { ...snapshot, statuses: new Map([...snapshot.statuses, [status.taskId, unwell]]) };
}

it('one endpoint of one service changes', async () => {
  let snapshot = runningFleet();
  const tally = { revised: 0, messages: 0, largest: 0, synced: 0 };
  let last: ControllerMessage | undefined;
  const abort = new AbortController();
  const dispatch = createDispatch(
    aDispatch({
      snapshot: () => snapshot,
      revise: (unit) => {
        const next = reviseUnit(unit, sha256);
        tally.revised += 1;
        tally.largest = Math.max(tally.largest, encodedBytes({ revision: next.revision, unit }));
        return next;
      },
    }),
  );
  async function session(nodeId: string): Promise<void> {
    const incoming = createOutbox<AgentMessage>(10, abort.signal);
    incoming.push({ kind: 'hello', facts: aFacts(nodeId), bootId: new Uint8Array(16), held: [] });
    for await (const message of dispatch.serve(nodeId, incoming, abort.signal)) {
      tally.messages += 1;
      if (tally.synced >= size.nodes) last = message;
      if (message.kind === 'synced') tally.synced += 1;
    }
  }
  const say = (text: string): void => void process.stdout.write(`${text}\n`);
  const before = heapMiB();
  let startedAt = performance.now();
  const sessions = [...snapshot.nodes.keys()].map(session);
  while (tally.synced < size.nodes) await new Promise((resolve) => setTimeout(resolve, 5));
  say(
    `${String(size.nodes)} nodes synced in ${(performance.now() - startedAt).toFixed(0)} ms: ${String(tally.messages)} messages, ${String(tally.revised)} units worked out`,
  );
  say(`a session keeps ${(((heapMiB() - before) * 1024) / size.nodes).toFixed(1)} KiB; largest unit ${(tally.largest / 1024).toFixed(0)} KiB`); // prettier-ignore
  expect(tally.largest).toBeLessThan(maxMessageBytes);

  Object.assign(tally, { revised: 0, messages: 0 });
  snapshot = withoutOneEndpoint(snapshot);
  const cpu = process.cpuUsage();
  startedAt = performance.now();
  dispatch.changed();
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  const { user, system } = process.cpuUsage(cpu);
  say(
    `one endpoint less: ${String(tally.messages)} messages, ${String(tally.revised)} units worked out, ${(performance.now() - startedAt).toFixed(0)} ms (CPU ${((user + system) / 1_000).toFixed(0)} ms)`,
  );
  // gRPC writes each message out for itself.
  const encodedAt = performance.now();
  for (let count = 0; count < 1_000 && last !== undefined; count += 1) controllerMessage.encode(last);
  say(`each of them is encoded in ${(performance.now() - encodedAt).toFixed(0)} µs`);
  expect(tally.revised).toBe(1);
  expect(tally.messages).toBeGreaterThan(100);
  abort.abort();
  await Promise.all(sessions);
});
