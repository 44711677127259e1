import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { NodeView, TaskView } from '../../../proto/domain/views.ts';
import { aNode, aTask } from './fake-control.ts';
import { CommandLine } from './fake-host.ts';

let line: CommandLine;

beforeEach(async () => {
  line = new CommandLine();
  await line.addContext();
  line.control.nodes = [aNode({ tasks: 2 }), aNode({ id: 'node-2', name: 'n2', tasks: 0 })];
});

afterEach(() => {
  expect(line.control.open).toBe(0);
  line.remove();
});

const update = (node: string, over: object) => ({ updateNode: { node, setLabels: {}, removeLabels: [], ...over } });

describe('availability', () => {
  it('is ordered by three verbs, of several nodes at once', async () => {
    expect(await line.run('node', 'pause', 'n1', 'n2')).toBe(0);
    expect(line.out).toBe('n1: paused\nn2: paused\n');
    expect(await line.run('node', 'activate', 'n1', '-o', 'json')).toBe(0);
    expect(line.json()).toEqual({ nodes: [aNode({ tasks: 2, availability: 'active' })] });
    expect(await line.run('node', 'drain', 'n1', 'n2')).toBe(0);
    expect(line.out).toBe('n1: drained, with 2 tasks left\nn2: drained, and empty\n');
    expect(line.control.calls).toEqual([
      update('n1', { availability: 'pause' }),
      update('n2', { availability: 'pause' }),
      update('n1', { availability: 'active' }),
      update('n1', { availability: 'drain' }),
      update('n2', { availability: 'drain' }),
    ]);
  });

  it('of a node that is not there does not keep the others', async () => {
    expect(await line.run('node', 'pause', 'n1', 'n9')).toBe(4);
    expect(line.out).toBe('n1: paused\n');
    expect(line.err).toContain('there is no node "n9"');
    expect(await line.run('node', 'drain', 'n8', 'n9')).toBe(4);
    expect(line.err).toContain('2 nodes not changed');
  });
});

describe('labels', () => {
  it('are set with KEY=VALUE and removed with KEY-', async () => {
    expect(await line.run('node', 'label', 'n1', 'zone=north', 'with=a=b', 'empty=')).toBe(0);
    expect(line.out).toBe('n1: zone=north with=a=b empty=\n');
    expect(await line.run('node', 'label', 'n1', 'zone-', 'with-', 'empty-')).toBe(0);
    expect(line.out).toBe('n1: no labels\n');
    expect(line.control.calls).toEqual([
      update('n1', { setLabels: { zone: 'north', with: 'a=b', empty: '' } }),
      update('n1', { removeLabels: ['zone', 'with', 'empty'] }),
    ]);
  });

  it('are all checked before anything is asked', async () => {
    expect(await line.run('node', 'label', 'n1', 'zone', '=x', 'a b=c', 'k=1', 'k-', '-o', 'json')).toBe(2);
    const { error } = JSON.parse(line.err) as { error: { problems: { where: string }[] } };
    expect(error.problems.map(({ where }) => where)).toEqual(['zone', '=x', 'a b=c', 'k-']);
    expect(line.control.calls).toEqual([]);
  });
});

describe('drain --wait', () => {
  /** What the controller tells at each look, the last for ever. */
  function looks(...steps: readonly { tasks: readonly TaskView[]; node?: Partial<NodeView> }[]): void {
    const { control } = line;
    let look = 0;
    control.listTasks = () => {
      const step = steps[Math.min(look, steps.length - 1)] ?? { tasks: [] };
      look += 1;
      return Promise.resolve(step.tasks);
    };
    control.listNodes = () => {
      const step = steps[Math.min(look, steps.length - 1)] ?? { tasks: [] };
      const left = step.tasks.filter((task) => task.node === 'n1').length;
      return Promise.resolve([aNode({ availability: 'drain', tasks: left, ...step.node })]);
    };
  }
  const waiting = aTask({
    id: 'new',
    node: null,
    state: 'pending',
    reason: '0/2 nodes fit: 1 lacks memory, 1 is drained',
  });

  it('shows what is left until the node is empty', async () => {
    looks(
      { tasks: [aTask(), aTask({ id: 't2', slot: 2 }), aTask({ id: 'x', node: 'n2' })] },
      { tasks: [aTask()] },
      { tasks: [] },
    );
    expect(await line.run('node', 'drain', 'n1', '--wait')).toBe(0);
    expect(line.err).toBe('n1: 2 tasks left\nn1: 1 task left\nn1 is empty\n');
    expect(line.out).toBe('n1: drained, and empty\n');
  });

  it('counts no task that has ended there and stays as it is', async () => {
    looks({ tasks: [aTask({ state: 'complete' })] });
    expect(await line.run('node', 'drain', 'n1', '--wait', '--timeout', '5s')).toBe(0);
  });

  it('draws a tree on a terminal', async () => {
    line.live = [];
    looks(
      { tasks: [aTask({ desiredState: 'shutdown' }), aTask({ id: 't2', slot: 2 }), { ...waiting, slot: 2 }] },
      { tasks: [] },
    );
    expect(await line.run('node', 'drain', 'n1', '--wait')).toBe(0);
    expect(line.live).toEqual([
      'n1 2 tasks left\n├ hello/web.1 running (stopping)\n└ hello/web.2 running  its replacement waits: 0/2 nodes fit: 1 lacks memory, 1 is drained',
      'n1 empty',
      'finished',
    ]);
  });

  it('gives up after --timeout, with what is left and why', async () => {
    looks({ tasks: [aTask(), waiting] });
    expect(await line.run('node', 'drain', 'n1', '--wait', '--timeout', '50ms', '-o', 'json')).toBe(3);
    expect(line.out).toBe('');
    const [, ...json] = line.err.split('\n').filter((text) => text.startsWith('{') || text !== '');
    expect(JSON.parse(json.at(-1) ?? '')).toEqual({
      error: {
        code: 'deadline',
        message: 'not empty after 0.05 s: n1',
        problems: [
          {
            where: 'hello/web.1',
            message: 'running on n1: its replacement waits: 0/2 nodes fit: 1 lacks memory, 1 is drained',
          },
        ],
        logs: [],
      },
    });
  });

  it('reads what a replacement wrote that has failed', async () => {
    const over = { restarts: 1, node: 'n2', desiredState: 'running' as const };
    const next = aTask({ id: 'a3', ...over, restarts: 2, state: 'preparing', startedAt: null });
    const crashed = aTask({ id: 'a2', ...over, state: 'failed', reason: 'exited with code 4' });
    looks({ tasks: [aTask(), next] });
    line.control.listTasks = ({ all }: { readonly all?: boolean }) =>
      Promise.resolve(all === true ? [aTask(), crashed, next] : [aTask(), next]);
    expect(await line.run('node', 'drain', 'n1', '--wait', '--timeout', '50ms')).toBe(3);
    expect(line.err).toContain(
      'hello/web.1: running on n1: its replacement is preparing on n2; the one before: exited with code 4\n',
    );
    expect(line.control.calls.at(-1)).toEqual({ logs: { targets: ['a2'], tail: 10, follow: false } });
    expect(line.err).toContain('hello/web.1 on n2 wrote nothing (task a2)');
  });

  it('says that a node can’t be told', async () => {
    looks({ tasks: [aTask()], node: { state: 'unreachable' } });
    expect(await line.run('node', 'drain', 'n1', '--wait', '--timeout', '50ms')).toBe(3);
    expect(line.err).toContain('hello/web.1: running on n1: node n1 is unreachable');
  });

  it('ends when somebody activates the node', async () => {
    looks({ tasks: [aTask()] }, { tasks: [aTask()], node: { availability: 'active' } });
    expect(await line.run('node', 'drain', 'n1', '--wait')).toBe(1);
    expect(line.err).toContain('node n1 was made active while this command waited for it');
  });

  it('bridges a controller that restarts', async () => {
    looks({ tasks: [] });
    const { listNodes } = line.control;
    let calls = 0;
    line.control.listNodes = () => {
      calls += 1;
      return calls === 1 ? Promise.reject(new FrotaError('unavailable', 'gone')) : listNodes.call(line.control);
    };
    expect(await line.run('node', 'drain', 'n1', '--wait')).toBe(0);
    expect(line.err).toBe('the controller does not answer; trying again\nn1 is empty\n');
  });
});
