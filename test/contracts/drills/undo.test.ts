/** Faults are injected for real and undone whatever dies: the agent, the process that has started the undo, or both. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { DrillKind, UndoOutcome } from '../../../proto/domain/drill.ts';
import { stopWord } from '../../../proto/domain/drill-orders.ts';
import { controlPort, HurtNode, servicePort } from './node.ts';

let node: HurtNode;
beforeAll(async () => {
  node = await HurtNode.make();
});
afterAll(() => node.remove());
beforeEach(() => node.start());
afterEach(() => node.reset());

const stopKey = 'ab12cd34';
const drillId = 'd1d1d1d1d1d1';

async function arm(fault: DrillKind, undoWithinMs: number, taskId?: string): Promise<number> {
  const order = { kind: 'arm', drillId, fault, undoWithinMs, stopKey, ...(taskId && { taskId }) } as const;
  return (await node.order(order, 'armed')).stopPort ?? 0;
}

async function injectFault(): Promise<void> {
  const { inMs } = await node.order({ kind: 'inject', drillId }, 'injecting');
  await sleep(inMs + 150);
}

async function until(check: () => Promise<boolean>, withinMs = 8_000): Promise<void> {
  for (let waitedMs = 0; waitedMs < withinMs; waitedMs += 50) {
    if (await check()) return;
    await sleep(50);
  }
  throw new Error(`not within ${String(withinMs)} ms`);
}

const outcome = async (): Promise<UndoOutcome | undefined> =>
  readFile(join(node.options.folder, `${drillId}.undone.json`), 'utf8').then(
    (text) => JSON.parse(text) as UndoOutcome,
    () => undefined,
  );
const isUndone = async () => (await outcome()) !== undefined;

/** No rule, no process, no control group of the drill. */
async function nothingIsLeft(): Promise<void> {
  await until(async () => (await node.undoers()).length === 0 && !(await node.undoerGroupIsThere()));
  expect(await node.tables()).toBe('');
}

describe('node-loss', () => {
  it('cuts the link and kills the containers; the timer undoes it though the agent was killed', async () => {
    await node.container('t1');
    expect(await node.reaches('in', servicePort)).toBe(true);
    await arm('node-loss', 4_000);
    expect(await node.undoers()).toHaveLength(1);
    expect(await node.reaches('in', servicePort)).toBe(true);
    await injectFault();
    expect(await node.pidsOf('containers')).toEqual([]);
    expect(await node.reaches('in', servicePort)).toBe(false);
    expect(await node.reaches('out', servicePort)).toBe(false);
    await node.kill();
    expect(await node.undoers()).toHaveLength(1);
    await until(isUndone);
    expect(await outcome()).toMatchObject({ by: 'timer', problems: [] });
    expect(await node.reaches('in', servicePort)).toBe(true);
    await nothingIsLeft();
  });

  it('is undone at once by the word of who has the key, over the link that is cut, and by no other', async () => {
    const port = await arm('node-loss', 60_000);
    await injectFault();
    expect(await node.datagram(port, `${stopWord}ab12cd35`)).toBe('');
    expect(await node.reaches('in', servicePort)).toBe(false);
    expect(await node.datagram(port, stopWord + stopKey)).toBe(`frota-drill-undone ${drillId}`);
    expect(await node.reaches('in', servicePort)).toBe(true);
    expect(await node.order({ kind: 'ask', drillId }, 'state')).toMatchObject({
      state: { injected: true, undone: true, undoneBy: 'stop', problems: [] },
    });
    await nothingIsLeft();
  });

  it('is undone by the next agent where it is overdue and nobody was left to do it', async () => {
    await arm('node-loss', 1_000);
    await injectFault();
    for (const pid of [...(await node.undoers()), ...(await node.pidsOf('agent'))]) process.kill(pid, 'SIGKILL');
    await sleep(1_500);
    expect(await node.reaches('in', servicePort)).toBe(false);
    await node.start();
    expect(await outcome()).toMatchObject({ by: 'agent' });
    expect(await node.reaches('in', servicePort)).toBe(true);
    expect(await node.tables()).toBe('');
  });

  it('is undone by the next agent at once where the undoing process has died, and left to it where it lives', async () => {
    await arm('node-loss', 60_000);
    await injectFault();
    await node.kill();
    await node.start();
    expect(await isUndone()).toBe(false);
    expect(await node.reaches('in', servicePort)).toBe(false);
    for (const pid of await node.undoers()) process.kill(pid, 'SIGKILL');
    await node.kill();
    await node.start();
    expect(await outcome()).toMatchObject({ by: 'agent' });
    expect(await node.reaches('in', servicePort)).toBe(true);
  });

  it('is undone by the agent that lives where the undoing process has died', async () => {
    await arm('node-loss', 1_000);
    await injectFault();
    for (const pid of await node.undoers()) process.kill(pid, 'SIGKILL');
    await until(isUndone);
    expect(await outcome()).toMatchObject({ by: 'agent' });
    expect(await node.reaches('in', servicePort)).toBe(true);
  });

  it('refuses a second drill until the first one is undone', async () => {
    await arm('node-loss', 60_000);
    const second = { kind: 'arm', drillId: 'd2', fault: 'partition', undoWithinMs: 60_000, stopKey } as const;
    await expect(node.order(second, 'armed')).rejects.toThrow(/not undone yet/u);
    await node.order({ kind: 'undo', drillId }, 'state');
    await node.order(second, 'armed');
    expect(await node.order({ kind: 'undo', drillId: 'd2' }, 'state')).toMatchObject({ state: { undone: true } });
    await nothingIsLeft();
  });

  it('hurts nothing without an undo that is armed', async () => {
    await expect(node.order({ kind: 'inject', drillId }, 'injecting')).rejects.toThrow(/not armed/u);
    await arm('node-loss', 60_000);
    await node.order({ kind: 'undo', drillId }, 'state');
    await expect(node.order({ kind: 'inject', drillId }, 'injecting')).rejects.toThrow(/not armed/u);
    expect(await node.reaches('in', servicePort)).toBe(true);
  });
});

describe('partition', () => {
  it('keeps the node from its controller and from nobody else', async () => {
    await arm('partition', 60_000);
    await injectFault();
    expect(await node.reaches('out', controlPort)).toBe(false);
    expect(await node.reaches('out', servicePort)).toBe(true);
    expect(await node.reaches('in', servicePort)).toBe(true);
    await node.order({ kind: 'undo', drillId }, 'state');
    expect(await node.reaches('out', controlPort)).toBe(true);
    await nothingIsLeft();
  });
});

describe('node-freeze', () => {
  it('makes agent and containers stand still; the timer thaws them', async () => {
    await node.container('t1');
    await arm('node-freeze', 2_500);
    await injectFault();
    const [agent] = await node.agentPids();
    const stat = async () => readFile(`/proc/${String(agent)}/stat`, 'utf8');
    expect(await stat()).toMatch(/\) T /u);
    expect(await node.isFrozen('containers')).toBe(true);
    await until(isUndone);
    expect(await stat()).not.toMatch(/\) T /u);
    expect(await node.isFrozen('containers')).toBe(false);
    expect(await node.pidsOf('containers/t1')).toHaveLength(2);
    expect(await node.order({ kind: 'ask', drillId }, 'state')).toMatchObject({ state: { undoneBy: 'timer' } });
    await nothingIsLeft();
  });

  it('is thawed by the next agent when both the frozen one and the undoing process were killed', async () => {
    await node.container('t1');
    await arm('node-freeze', 60_000);
    await injectFault();
    for (const pid of await node.undoers()) process.kill(pid, 'SIGKILL');
    await node.kill();
    expect(await node.isFrozen('containers')).toBe(true);
    await node.start();
    expect(await node.isFrozen('containers')).toBe(false);
    expect(await outcome()).toMatchObject({ by: 'agent' });
  });
});

describe('agent-kill', () => {
  it('ends when a supervisor starts the agent again', async () => {
    await arm('agent-kill', 60_000);
    await injectFault();
    expect(await node.agentPids()).toEqual([]);
    await node.start();
    expect(await node.order({ kind: 'ask', drillId }, 'state')).toMatchObject({
      state: { injected: true, undone: true },
    });
    expect(await node.agentPids()).toHaveLength(1);
  });

  it('starts the agent again itself where no supervisor does', async () => {
    await arm('agent-kill', 1_000);
    await injectFault();
    expect(await node.agentPids()).toEqual([]);
    await until(isUndone, 15_000);
    await until(async () => (await node.agentPids()).length === 1);
    await nothingIsLeft();
  });
});

describe('container-kill', () => {
  it('kills the first process of one container and of no other', async () => {
    await node.container('t1');
    await node.container('t2');
    await arm('container-kill', 60_000, 't1');
    expect(await node.undoers()).toEqual([]);
    await injectFault();
    await until(async () => (await node.pidsOf('containers/t1')).length === 0);
    expect(await node.pidsOf('containers/t2')).toHaveLength(2);
    expect(await node.order({ kind: 'ask', drillId }, 'state')).toMatchObject({
      state: { injected: true, undone: true },
    });
    // The next drill is not kept waiting by one that has nothing to undo.
    const next = {
      kind: 'arm',
      drillId: 'd2',
      fault: 'container-kill',
      taskId: 'no',
      undoWithinMs: 9_000,
      stopKey,
    } as const;
    await node.order(next, 'armed');
    await node.order({ kind: 'inject', drillId: 'd2' }, 'injecting');
    await sleep(300);
    const { state } = await node.order({ kind: 'ask', drillId: 'd2' }, 'state');
    expect(state.injected).toBe(false);
    expect(state.problems[0]).toContain('no container of this node runs');
  });
});

describe('the probe', () => {
  it('asks at its rate, counts what fails, and asks no more once it is told to end', async () => {
    const probe = { kind: 'http', path: '/', perSecond: 100, containerPort: 1 } as const;
    const targets = [`127.0.0.1:${String(servicePort)}`, '127.0.0.1:9'];
    await node.order(
      { kind: 'probe', drillId, service: 'shop/web', atMostMs: 60_000, probe: { ...probe, targets } },
      'probing',
    );
    await sleep(1_000);
    const { tally } = await node.order({ kind: 'count', drillId, end: true }, 'tally');
    expect(tally.sent).toBeGreaterThan(80);
    expect(tally.sent).toBeLessThan(140);
    expect(Math.abs(tally.failed - tally.sent / 2)).toBeLessThan(2);
    expect(tally.failures).toEqual({ ECONNREFUSED: tally.failed });
    expect(tally.longestGapMs).toBeLessThan(300);
    await sleep(200);
    expect((await node.order({ kind: 'count', drillId, end: true }, 'tally')).tally.sent).toBe(tally.sent);
    await expect(node.order({ kind: 'count', drillId: 'other', end: true }, 'tally')).rejects.toThrow(/does not ask/u);
  });
});
