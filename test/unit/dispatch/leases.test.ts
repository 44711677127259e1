import { describe, expect, it } from 'vitest';
import { LeaseBook } from '../../../controller/dispatch/leases.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { monoMs, wallMs } from '../../../proto/base/clock.ts';
import { aNode, aSnapshot, aStatus, aTask, aTemplate } from '../../builders/domain.ts';

const template = aTemplate({ fenceLeaseMs: 10_000 });
const fenced = (id: string, node = 'id-n1') => aTask({ id, template, fence: 3, nodeId: node });

function book(confirmLead: () => Promise<void> = () => Promise.resolve()) {
  let ms = 1_000;
  const snapshot = aSnapshot({
    nodes: [aNode('n1'), aNode('n2')],
    tasks: [
      fenced('runs'),
      { ...fenced('leaves'), desired: 'shutdown' },
      fenced('ended'),
      { ...fenced('orphaned'), orphaned: true },
      fenced('elsewhere', 'id-n2'),
      aTask({ id: 'plain', nodeId: 'id-n1' }),
    ],
    statuses: [aStatus('runs', 'running'), aStatus('ended', 'failed')],
  });
  const leases = new LeaseBook({
    snapshot: () => snapshot,
    confirmLead,
    clock: { now: () => ({ monoMs: monoMs(ms), wallMs: wallMs(0) }) },
  });
  return { leases, setTime: (next: number) => (ms = next) };
}

describe('the book of leases', () => {
  it("answers for a node's fenced tasks that have not ended, and remembers when", async () => {
    const { leases, setTime } = book();
    setTime(5_000);
    expect(await leases.answer('id-n1', 4)).toEqual({ kind: 'lease', number: 4, taskIds: ['runs', 'leaves'] });
    expect([...leases.known().answeredAtMs]).toEqual([
      ['runs', 5_000],
      ['leaves', 5_000],
    ]);
    expect(leases.known().leaderSinceMs).toBe(1_000);
  });

  it('answers for nothing the plan has given up, from that moment on', async () => {
    const { leases } = book();
    const asked = leases.answer('id-n1', 1);
    leases.decided([{ kind: 'put-task', task: { ...fenced('runs'), orphaned: true }, modRevision: 1 }]);
    expect((await asked).taskIds).toEqual(['leaves']);
  });

  it('answers nothing when the store says that somebody else leads', async () => {
    const { leases } = book(() => Promise.reject(new FrotaError('conflict', 'another controller leads')));
    await expect(leases.answer('id-n1', 1)).rejects.toThrow('another controller leads');
    expect(leases.known().answeredAtMs.size).toBe(0);
  });
});
