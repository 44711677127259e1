import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Change } from '../../../controller/plan/snapshot.ts';
import { takeLeadership } from '../../../controller/store/cluster-record.ts';
import { taskKey } from '../../../controller/store/keys.ts';
import { createMemoryStore } from '../../../controller/store/memory/memory-store.ts';
import { startMirror } from '../../../controller/store/mirror.ts';
import type { Mirror } from '../../../controller/store/mirror.ts';
import type { Store, Transaction } from '../../../controller/store/store.ts';
import { createRecords } from '../../../controller/store/write-records.ts';
import type { Records } from '../../../controller/store/write-records.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { revisionsKept } from '../../../proto/domain/revision.ts';
import type { Revision } from '../../../proto/domain/revision.ts';
import { maxStackBytes, validateStackSpec } from '../../../proto/domain/validate.ts';
import { aNode, aServiceSpec, aStack, aStackSpec, aStatus, aTask, aTemplate } from '../../builders/domain.ts';

const fresh = { id: 'c', containerPool: '10.64.0.0/12', vipPool: '10.80.0.0/16', caCertificate: 'ca' };
const put = (id: string): Change => ({ kind: 'put-task', task: aTask({ id }), modRevision: 0 });

const aRevision = (version: number): Revision => ({
  stack: aStack('shop', undefined, { version }),
  kind: 'apply',
  differences: [`change ${String(version)}`],
});

/** What the store does with the next commit, besides committing. */
type Day = 'good' | 'loses the answer' | 'writes it later' | 'is slow';

describe('records', () => {
  const inner = createMemoryStore();
  let day: Day = 'good';
  let later: (() => Promise<unknown>) | undefined;
  let hurry: () => void = () => undefined;
  let mirror: Mirror;
  let records: Records;

  const store: Store = {
    ...inner,
    commit: async (transactions: readonly Transaction[]) => {
      const today = day;
      day = 'good';
      if (today === 'is slow') await new Promise<void>((resolve) => (hurry = resolve));
      if (today === 'writes it later') later = () => inner.commit(transactions);
      else if (today !== 'loses the answer') return await inner.commit(transactions);
      else await inner.commit(transactions);
      throw new FrotaError('unavailable', 'the store does not answer');
    },
  };
  const stored = async (prefix: string): Promise<readonly string[]> =>
    (await inner.range(prefix)).entries.map(({ key }) => key);

  beforeEach(async () => {
    const { entries } = await inner.range('');
    await inner.commit([{ compares: [], operations: entries.map(({ key }) => ({ kind: 'delete', key })) }]);
    const leadership = await takeLeadership(store, fresh);
    mirror = await startMirror(store, silentLogger);
    records = createRecords({ store, leadership, mirror });
  });
  afterEach(() => mirror.close());

  it('writes nothing on a picture that may lack what was written when the answer was lost', async () => {
    day = 'loses the answer';
    await expect(records.commit([put('a')])).rejects.toMatchObject({ code: 'unavailable' });
    // A plan made before the watch has told of `a` would give its slot to another.
    expect(await records.commit([put('b')])).toMatchObject({ committed: 0, conflicts: 1 });
    expect([...mirror.snapshot().tasks.keys()]).toEqual(['a']);
    expect(await records.commit([put('c')])).toMatchObject({ committed: 1, conflicts: 0 });
    expect(await stored('tasks/')).toEqual([taskKey('a'), taskKey('c')]);
  });

  it('lets a task take the place of another as a whole, and not of one that has changed, on a node that has, or under an id that exists', async () => {
    const node = aNode('n1');
    await records.putNode(node, 0);
    await records.commit([put('a'), put('c')]);
    const { tasks, nodes } = mirror.snapshot();
    const taking = {
      task: aTask({ id: 'b', nodeId: node.id, byNode: true }),
      predecessor: aTask({ id: 'a', desired: 'shutdown' }),
      modRevision: tasks.get('a')?.modRevision ?? 0,
      node: { id: node.id, modRevision: nodes.get(node.id)?.modRevision ?? 0 },
    };
    const before = { ...taking, modRevision: taking.modRevision - 1 };
    expect(await records.takePlaces([before])).toEqual([false]);
    expect(await records.takePlaces([{ ...taking, node: { ...taking.node, modRevision: 1 } }])).toEqual([false]);
    expect(await records.takePlaces([{ ...taking, task: aTask({ id: 'c' }) }])).toEqual([false]);
    expect(mirror.snapshot().tasks.get('a')?.value.desired).toBe('running');
    expect(await records.takePlaces([taking, taking])).toEqual([true, false]);
    expect(mirror.snapshot().tasks.get('a')?.value.desired).toBe('shutdown');
    expect(mirror.snapshot().tasks.get('b')?.value).toMatchObject({ byNode: true, nodeId: node.id });
  });

  it('keeps out what was still on its way to the store', async () => {
    day = 'writes it later';
    await expect(records.commit([put('a')])).rejects.toMatchObject({ code: 'unavailable' });
    await records.commit([put('b')]);
    await records.commit([put('c')]);
    await later?.();
    expect(await stored('tasks/')).toEqual([taskKey('c')]);
  });

  it('settles again when the answer to that is lost too', async () => {
    day = 'loses the answer';
    await expect(records.commit([put('a')])).rejects.toThrow();
    day = 'loses the answer';
    await expect(records.commit([put('b')])).rejects.toThrow();
    expect(await records.commit([put('b')])).toMatchObject({ committed: 0 });
    expect(await records.commit([put('b')])).toMatchObject({ committed: 1 });
  });

  it('writes a status that met the moved fence', async () => {
    await records.commit([put('a')]);
    day = 'loses the answer';
    await expect(records.commit([put('b')])).rejects.toThrow();
    day = 'is slow';
    const told = records.putStatuses([aStatus('a', 'running')]);
    expect(await records.commit([put('b')])).toMatchObject({ committed: 0 });
    hurry();
    await told;
    expect(await stored('statuses/')).toEqual(['statuses/a']);
  });

  it('keeps the latest versions of a stack, written with it and gone with it', async () => {
    const revisionOf = () => mirror.snapshot().stacks.get('shop')?.modRevision ?? 0;
    for (let version = 1; version <= revisionsKept + 2; version += 1) {
      expect(await records.putStack('shop', aRevision(version), revisionOf())).toBe(true);
    }
    const history = await records.history('shop');
    expect(history.map(({ stack }) => stack.version)).toEqual(Array.from({ length: revisionsKept }, (_, index) => index + 3)); // prettier-ignore
    expect(history.at(-1)).toEqual(aRevision(revisionsKept + 2));
    // Who comes second writes neither the stack nor its history.
    expect(await records.putStack('shop', aRevision(99), 1)).toBe(false);
    expect(await records.history('shop')).toHaveLength(revisionsKept);
    expect(await records.putStack('shop', undefined, revisionOf())).toBe(true);
    expect([await stored('history/'), await stored('stacks/')]).toEqual([[], []]);
  });

  it('takes the largest stack that is accepted, with its history', async () => {
    const environment = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`V${String(index)}`, 'x'.repeat(1_000)])); // prettier-ignore
    const one = aServiceSpec({ template: aTemplate({ environment }) });
    const services = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => ({ ...one, name }));
    const spec = aStackSpec('shop', services);
    expect(validateStackSpec(spec).filter(({ message }) => message.includes('bytes'))).toEqual([]);
    expect(JSON.stringify(spec).length).toBeGreaterThan(maxStackBytes * 0.95);
    const differences = Array.from({ length: 101 }, () => 'x'.repeat(300));
    expect(await records.putStack('shop', { ...aRevision(1), stack: aStack('shop', services), differences }, 0)).toBe(
      true,
    );
  });

  it('writes nothing any more once another controller leads', async () => {
    await takeLeadership(inner, fresh);
    await expect(records.commit([put('a')])).rejects.toMatchObject({ code: 'conflict' });
    await expect(records.putStack('shop', aRevision(1), 0)).rejects.toMatchObject({ code: 'conflict' });
    day = 'loses the answer';
    await expect(records.commit([put('a')])).rejects.toMatchObject({ code: 'unavailable' });
    await expect(records.commit([put('a')])).rejects.toMatchObject({ code: 'conflict' });
    expect(await stored('tasks/')).toEqual([]);
    expect(await stored('stacks/')).toEqual([]);
  });
});
