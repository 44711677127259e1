/** What it takes to store what a pass has decided: 100,000 new tasks, and what follows the loss of 500 of 10,000 nodes. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { plan } from '../../controller/plan/plan.ts';
import type { Change } from '../../controller/plan/snapshot.ts';
import { takeLeadership } from '../../controller/store/cluster-record.ts';
import { transactionOf } from '../../controller/store/commit.ts';
import { openEmbeddedStore } from '../../controller/store/embedded/embedded-store.ts';
import { factsKey, nodeKey, stackKey } from '../../controller/store/keys.ts';
import { createMemoryStore } from '../../controller/store/memory/memory-store.ts';
import { startMirror } from '../../controller/store/mirror.ts';
import type { Store, Transaction } from '../../controller/store/store.ts';
import { createRecords } from '../../controller/store/write-records.ts';
import { silentLogger } from '../../proto/base/log.ts';
import { encodeNode, encodeNodeFacts, encodeStack } from '../../proto/codec/records.ts';
import { aPlanInput, startMs } from '../builders/domain.ts';
import { aFleet, allRunning, fleetLiveness } from '../builders/fleet.ts';

const size = { nodes: 10_000, services: 1_000, tasks: 100_000 };
const lostNodes = size.nodes / 20;
const chunk = 1_000;

async function fill(store: Store, fleet: ReturnType<typeof aFleet>): Promise<void> {
  const put = (key: string, value: Uint8Array): Transaction => ({
    compares: [],
    operations: [{ kind: 'put', key, value }],
  });
  const transactions = [
    ...[...fleet.nodes].map(([id, { value }]) => put(nodeKey(id), encodeNode(value))),
    ...[...fleet.facts].map(([id, value]) => put(factsKey(id), encodeNodeFacts(value))),
    ...[...fleet.stacks].map(([name, { value }]) => put(stackKey(name), encodeStack(value))),
  ];
  for (let next = 0; next < transactions.length; next += chunk) {
    await store.commit(transactions.slice(next, next + chunk));
  }
}

const bytesOf = (changes: readonly Change[]): number =>
  changes
    .flatMap((change) => transactionOf(change).operations)
    .reduce(
      (sum, operation) => sum + operation.key.length + (operation.kind === 'put' ? operation.value.length : 0),
      0,
    );

async function measure(kind: string, store: Store): Promise<void> {
  const fleet = aFleet(size, 'constrained');
  const { containerPool, vipPool } = fleet;
  const leadership = await takeLeadership(store, { id: 'bench', containerPool, vipPool, caCertificate: 'none' });
  await fill(store, fleet);
  const mirror = await startMirror(store, silentLogger);
  const records = createRecords({ store, leadership, mirror });
  const write = async (what: string, changes: readonly Change[]): Promise<void> => {
    const cpu = process.cpuUsage();
    const startedAt = performance.now();
    const outcome = await records.commit(changes);
    const ms = performance.now() - startedAt;
    const { user, system } = process.cpuUsage(cpu);
    process.stdout.write(
      `${kind}: ${what}: ${String(changes.length)} changes, ${(bytesOf(changes) / 1024 ** 2).toFixed(1)} MiB, ${ms.toFixed(0)} ms (CPU ${((user + system) / 1_000).toFixed(0)} ms)\n`,
    );
    expect(outcome).toMatchObject({ conflicts: 0, committed: changes.length });
  };
  const input = (lost: number) =>
    aPlanInput(mirror.snapshot(), { liveness: fleetLiveness(mirror.snapshot(), lost), wall: startMs + 60_000 });
  await write('all tasks placed', plan(mirror.snapshot(), input(0)).changes);
  for (const status of allRunning(mirror.snapshot()).statuses.values()) mirror.reportTransient(status);
  // Other ids than those of the pass before.
  let ids = 0;
  const newId = (): string => `again-${String((ids += 1))}`;
  const loss = plan(mirror.snapshot(), { ...input(lostNodes), newId });
  await write(`${String(lostNodes)} nodes lost`, loss.changes);
  await mirror.close();
}

it('memory', async () => {
  const store = createMemoryStore();
  await measure('memory', store);
  await store.close();
});

it('embedded', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'frota-bench-'));
  try {
    const store = openEmbeddedStore(folder);
    await measure('embedded', store);
    await store.close();
    process.stdout.write(`embedded: file ${(statSync(join(folder, 'store.lmdb')).size / 1024 ** 2).toFixed(0)} MiB\n`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
