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
import { aStack, aStatus, aTask } from '../../builders/domain.ts';

const fresh = { id: 'c', containerPool: '10.64.0.0/12', vipPool: '10.80.0.0/16', caCertificate: 'ca' };
const put = (id: string): Change => ({ kind: 'put-task', task: aTask({ id }), modRevision: 0 });

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

  it('writes nothing any more once another controller leads', async () => {
    await takeLeadership(inner, fresh);
    await expect(records.commit([put('a')])).rejects.toMatchObject({ code: 'conflict' });
    await expect(records.putStack('shop', aStack('shop'), 0)).rejects.toMatchObject({ code: 'conflict' });
    day = 'loses the answer';
    await expect(records.commit([put('a')])).rejects.toMatchObject({ code: 'unavailable' });
    await expect(records.commit([put('a')])).rejects.toMatchObject({ code: 'conflict' });
    expect(await stored('tasks/')).toEqual([]);
    expect(await stored('stacks/')).toEqual([]);
  });
});
