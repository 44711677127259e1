import { describe, expect, it, vi } from 'vitest';
import { containerSpec } from '../../../agent/execute/container-spec.ts';
import { NodeTasks } from '../../../agent/execute/node-tasks.ts';
import type { FencedTasks } from '../../../agent/execute/ports.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { assignedTask, fakeHost } from '../../fakes/agent-ports.ts';

const fenced = assignedTask('a', { fence: 42 });

/** Leases that the test gives, ends and is asked about. */
function leasesOf(host: ReturnType<typeof fakeHost>) {
  const state = { holds: false, hasEnded: false, isGuarded: true, release: 0, allow: (): void => undefined };
  const leases: FencedTasks = {
    holds: () => state.holds,
    hasEnded: () => state.hasEnded,
    isGuarded: () => state.isGuarded,
    arm: async (_task, signal) => {
      host.calls.push('arm');
      await new Promise<void>((resolve, reject) => {
        state.allow = resolve;
        signal.addEventListener('abort', () => {
          reject(new FrotaError('cancelled', 'no longer wanted'));
        });
      });
      state.holds = true;
    },
    release: () => Promise.resolve(void (state.release += 1)),
  };
  return { state, ports: { ...host.ports, leases } };
}

async function assigned(ports: ReturnType<typeof leasesOf>['ports']): Promise<NodeTasks> {
  const tasks = new NodeTasks(ports);
  await tasks.adopt([]);
  tasks.confirm();
  await tasks.assign([fenced]);
  return tasks;
}

const steps = (host: ReturnType<typeof fakeHost>) => host.calls.filter((call) => call !== 'put');

describe('a fenced task', () => {
  it('is made, waits for its lease and the guard, and is started only then', async () => {
    const host = fakeHost();
    const { state, ports } = leasesOf(host);
    const tasks = await assigned(ports);
    await vi.waitFor(() => {
      expect(steps(host)).toEqual(['ensure', 'attach', 'attach', 'create', 'arm']);
    });
    expect(host.statuses.at(-1)).toMatchObject({ state: 'ready', reason: 'waits for its lease' });
    state.allow();
    await vi.waitFor(() => {
      expect(host.statuses.at(-1)?.state).toBe('running');
    });
    await tasks.close();
  });

  it('is not started when its lease ends while its start is journaled', async () => {
    const host = fakeHost();
    const { state, ports } = leasesOf(host);
    const put = ports.journal.put.bind(ports.journal);
    const journal = {
      ...ports.journal,
      put: async (kind: Parameters<typeof put>[0], id: string, value: unknown) => {
        if ((value as { startRequested?: boolean }).startRequested === true) state.holds = false;
        await put(kind, id, value);
      },
    };
    const tasks = await assigned({ ...ports, journal });
    await vi.waitFor(() => {
      expect(steps(host)).toContain('arm');
    });
    state.allow();
    await vi.waitFor(() => {
      expect(steps(host).filter((call) => call === 'arm')).toHaveLength(2);
    });
    expect(steps(host)).not.toContain('start');
    await tasks.close();
  });

  it('says that its lease ended when the guard has killed it, and gives its lease file up', async () => {
    const host = fakeHost();
    const { state, ports } = leasesOf(host);
    state.holds = true;
    const tasks = await assigned(ports);
    await vi.waitFor(() => {
      expect(host.statuses.at(-1)?.state).toBe('running');
    });
    state.hasEnded = true;
    host.exit('a', 137);
    await vi.waitFor(() => {
      expect(host.statuses.at(-1)?.reason).toContain('its lease ended');
      expect(state.release).toBe(1);
    });
    await tasks.close();
  });

  it.each([
    [true, 'running'],
    [false, 'failed'],
  ])('that an agent finds running, guarded %s, is %s after that', async (isGuarded, after) => {
    const host = fakeHost();
    const { state, ports } = leasesOf(host);
    Object.assign(state, { holds: true, isGuarded });
    host.records.set('tasks/a', { assigned: fenced, startRequested: true, startedAtMs: 7 });
    host.containers.set('a', { id: 'a', state: { kind: 'running', pid: 1, startedAtMs: 7 } });
    const tasks = new NodeTasks(ports);
    await tasks.adopt([fenced]);
    tasks.confirm();
    await vi.waitFor(() => {
      expect(tasks.statuses().map((status) => status.state)).toEqual([after]);
    });
    await tasks.close();
  });

  it('finds its token in its environment, whatever the service says', () => {
    const image = { manifestDigest: 'sha256:1', lowerDirs: [], config: { entrypoint: [], command: ['x'], environment: [], workingDir: '', user: '', shell: [] } }; // prettier-ignore
    const attachment = { taskId: 'a', address: '10.64.0.2', namespace: '/run/netns/a' };
    const task = { ...fenced, template: { ...fenced.template, environment: { FROTA_FENCE: '1' } } };
    expect(containerSpec(task, image, attachment, { files: [], mounts: [] }).environment).toEqual(['FROTA_FENCE=42']);
    const plain = assignedTask('b');
    expect(containerSpec(plain, image, attachment, { files: [], mounts: [] }).environment).toEqual([]);
  });
});
