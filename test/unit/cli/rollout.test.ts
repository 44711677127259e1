import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RevisionView, RolloutView } from '../../../proto/domain/views.ts';
import { aService, aTask, progress } from './fake-control.ts';
import { CommandLine } from './fake-host.ts';

let line: CommandLine;

beforeEach(async () => {
  line = new CommandLine();
  await line.addContext();
  line.file('compose.yaml', 'name: hello\nservices: {web: {image: app}}\n');
});
afterEach(() => {
  expect(line.control.open).toBe(0);
  line.remove();
});

const rollout = (over: Partial<RolloutView> = {}): RolloutView => ({
  state: 'updating',
  version: 2,
  updated: 1,
  failed: 0,
  startedAt: '2026-11-21T06:00:00.000Z',
  endedAt: null,
  reason: null,
  ...over,
});
const updating = (over: Partial<RolloutView> = {}) =>
  aService({ replicas: { desired: 3, running: 3 }, rollout: rollout(over) });
const revision = (version: number, over: Partial<RevisionView> = {}): RevisionView => ({
  version,
  current: false,
  kind: 'apply',
  by: 'ana',
  at: '2026-11-21T06:00:00.000Z',
  restores: null,
  differences: ['web: image app:1 -> app:2'],
  ...over,
});
const failure = '1 of 3 slots failed, none may: web.1 on n2: exit code 1: boom';
const paused = progress({
  version: 2,
  converged: false,
  services: [updating({ state: 'paused', reason: failure })],
  stuck: [{ service: 'web', slot: null, node: null, reason: `update paused: ${failure}` }],
});

describe('apply --wait', () => {
  beforeEach(() => {
    line.control.applied = { version: 2, changed: true, created: [], updated: ['web'], removed: [], unchanged: [] };
  });

  it('shows how far the update is, and ends at once when it has failed', async () => {
    const before = { ...paused, version: 1 };
    const under = progress({ version: 2, converged: false, services: [updating({ failed: 1 })] });
    line.control.watches = [[before, under, paused, 'silence']];
    expect(await line.run('apply', '--wait')).toBe(3);
    expect(line.err).toContain('hello/web 3/3 running, updating to version 2, 1 of 3 updated, 1 failed\n');
    line.control.watches = [[paused, 'silence']];
    expect(await line.run('apply', '--wait', '-o', 'json')).toBe(3);
    const last = line.err.trimEnd().split('\n').at(-1) ?? '';
    expect(JSON.parse(last)).toEqual({
      error: {
        code: 'stuck',
        message: 'hello: not as declared, and it will not come to that by itself',
        problems: [{ where: 'hello/web', message: `update paused: ${failure}` }],
        logs: [],
      },
    });
  });

  it('reads what the update failed with, in whatever slot', async () => {
    const attempt = { service: 'web', slot: 2, taskId: 'a7', node: 'n2', started: true, reason: 'exit code 1: boom' };
    line.control.watches = [[{ ...paused, failed: [attempt] }, 'silence']];
    expect(await line.run('apply', '--wait')).toBe(3);
    expect(line.control.calls.at(-1)).toMatchObject({ logs: { targets: ['a7'] } });
    expect(line.err).toContain('hello/web.2 on n2 wrote nothing (task a7)\n');
  });

  it('names slot and node of a task that failed for good', async () => {
    const reason = 'failed: exit code 3: no database';
    const stuck = progress({ version: 2, converged: false, stuck: [{ service: 'web', slot: 1, node: 'n2', reason }] });
    line.control.watches = [[stuck, 'silence']];
    expect(await line.run('apply', '--wait')).toBe(3);
    expect(line.err).toContain(`hello/web.1 on n2: ${reason}`);
  });

  it('draws the update beside its service', async () => {
    line.live = [];
    line.control.watches = [
      [progress({ version: 2, converged: false, services: [updating()] }), progress({ version: 2 })],
    ];
    expect(await line.run('apply', '--wait')).toBe(0);
    expect(line.live[0]).toBe('hello version 2\n└ web 3/3 running  updating to version 2, 1 of 3 updated');
  });
});

it('scale --wait does not mind how the last update ended, only what its own tasks do', async () => {
  line.control.scaled = [{ stack: 'hello', service: 'web', before: 3, after: 1 }];
  const scaled = { ...paused, services: [aService({ rollout: rollout({ state: 'paused' }) })], tasks: [aTask()] };
  line.control.watches = [[paused, scaled]];
  expect(await line.run('scale', 'web=1', '--wait')).toBe(0);
});

describe('rollout', () => {
  it('status tells where updates are', async () => {
    line.control.services = [updating({ state: 'paused', failed: 1, reason: failure }), aService({ name: 'db' })];
    expect(await line.run('rollout', 'status', 'hello')).toBe(0);
    const [, web, db] = line.out.split('\n').map((row) => row.replaceAll(/ +/gu, ' '));
    expect(web).toMatch(new RegExp(`^hello/web paused 2 1/3 1 \\d+[smhd] ${failure.replaceAll('.', '\\.')}$`, 'u'));
    expect(db).toBe('hello/db - - - - -');
    expect(line.control.calls).toEqual([{ rolloutStatus: 'hello' }]);
  });

  it('status --wait ends when no update is under way, with 3 where one has failed', async () => {
    line.control.services = [updating()];
    const under = progress({ converged: false, services: [updating()] });
    line.control.watches = [[under, progress({ converged: false, services: [updating({ state: 'completed' })] })]];
    expect(await line.run('rollout', 'status', '--wait', '-o', 'json')).toBe(0);
    line.control.watches = [[under, paused]];
    expect(await line.run('rollout', 'status', 'web', '--wait')).toBe(3);
    expect(line.err).toContain(`update paused: ${failure}`);
  });

  it('history lists versions, and tells of one what it declares', async () => {
    const services = [{ name: 'web', mode: 'replicated' as const, image: 'app:1', digest: 'sha256:1', replicas: 3 }];
    line.control.revisions = [
      revision(3, { current: true, kind: 'undo', restores: 1, differences: ['a', 'b', 'c', 'd', 'e'] }),
      revision(2),
    ];
    expect(await line.run('rollout', 'history', 'hello')).toBe(0);
    const [, third, second] = line.out.split('\n').map((row) => row.replaceAll(/ +/gu, ' '));
    expect(third).toMatch(/^3 \* undo to 1 ana \d+[smhd] a; b; c; and 2 more$/u);
    expect(second).toMatch(/^2 apply ana \d+[smhd] web: image app:1 -> app:2$/u);
    line.control.revisions = [revision(2, { services })];
    line.out = '';
    expect(await line.run('rollout', 'history', 'hello', '--revision', '2')).toBe(0);
    expect(line.out).toContain(
      'hello version 2\napply by ana at 2026-11-21T06:00:00.000Z\n  web: image app:1 -> app:2\n',
    );
    expect(line.out).toMatch(/web +3 +app:1 +sha256:1/u);
    line.out = '';
    await line.run('rollout', 'history', 'hello', '--revision', '2', '-o', 'json');
    expect(line.json()).toMatchObject({ version: 2, services });
    expect(await line.run('rollout', 'history', 'hello', '--revision', '0')).toBe(2);
  });

  it('undo waits for the version it made', async () => {
    line.control.applied = { version: 3, changed: true, created: [], updated: ['web'], removed: [], unchanged: [] };
    line.control.watches = [[progress({ version: 2 }), progress({ version: 3 })]];
    expect(await line.run('rollout', 'undo', 'hello', '--to-revision', '1', '--wait')).toBe(0);
    expect(line.out).toBe('hello: version 3 accepted, as version 1 was; 1 service changed\n');
    expect(line.control.calls[0]).toEqual({ rolloutUndo: 'hello', version: 1 });
  });

  it('restart waits for what it restarted, not for its siblings', async () => {
    line.control.restarted = [{ stack: 'hello', version: 4, services: ['web'] }];
    const sibling = { service: 'db', slot: null, node: null, reason: 'update paused' };
    const under = progress({ version: 4, converged: false, stuck: [sibling], services: [updating({ version: 4 })] });
    const done = { ...under, services: [updating({ version: 4, state: 'completed', updated: 3 })] };
    line.control.watches = [[progress({ version: 3 }), under, done, 'silence']];
    expect(await line.run('rollout', 'restart', 'web', '--wait')).toBe(0);
    expect(line.out).toBe('hello: version 4 accepted; restarts web\n');
  });

  it('restart fails where its update was rolled back, however well the earlier tasks run', async () => {
    line.control.restarted = [{ stack: 'hello', version: 4, services: ['web'] }];
    const fallen = { service: 'web', slot: null, node: null, reason: 'update rolled back: it failed' };
    const services = [updating({ version: 4, state: 'rolled-back', updated: 0 })];
    line.control.watches = [[progress({ version: 4, converged: false, stuck: [fallen], services })]];
    expect(await line.run('rollout', 'restart', 'web', '--wait')).toBe(3);
    expect(line.err).toContain('update rolled back: it failed');
  });
});
