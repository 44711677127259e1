import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FrotaError } from '../../../proto/base/errors.ts';
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

const starting = progress({
  version: 2,
  converged: false,
  services: [aService({ replicas: { desired: 2, running: 1 } })],
  tasks: [aTask(), aTask({ id: 't2', slot: 2, state: 'preparing', reason: 'pulling 12.3 of 81.0 MB' })],
});

describe('apply --wait', () => {
  beforeEach(() => {
    line.control.applied = { version: 2, changed: true, created: [], updated: ['web'], removed: [], unchanged: [] };
  });

  it('waits for the version it applied, not for an earlier one that has converged', async () => {
    line.control.watches = [[progress({ version: 1 }), starting, progress({ version: 2 }), 'silence']];
    expect(await line.run('apply', '--wait')).toBe(0);
    expect(line.out).toContain('hello: version 2 accepted');
    expect(line.err).toBe(
      [
        'hello/web 1/1 running',
        'hello/web 1/2 running',
        'hello/web.2 preparing on n1: pulling 12.3 of 81.0 MB',
        'hello/web 1/1 running',
        '',
      ].join('\n'),
    );
  });

  it('tells in lines that an image is pulled, not every step of it', async () => {
    const pulling = (reason: string) =>
      progress({ version: 2, converged: false, tasks: [aTask({ state: 'preparing', reason })] });
    const [first, second, third] = ['pulling 1.5 of 81.0 MB', 'pulling 12.3 of 81.0 MB', 'unpacking 81.0 of 81.0 MB'];
    line.control.watches = [[pulling(first), pulling(second), pulling(third), progress({ version: 2 })]];
    expect(await line.run('apply', '--wait')).toBe(0);
    expect(line.err).toContain(`preparing on n1: ${first}\n`);
    expect(line.err).not.toContain(second);
    expect(line.err).toContain(`preparing on n1: ${third}\n`);
  });

  it('draws a tree on a terminal', async () => {
    line.live = [];
    line.control.watches = [[starting, progress({ version: 2 })]];
    expect(await line.run('apply', '--wait')).toBe(0);
    expect(line.err).toBe('');
    expect(line.live).toEqual([
      'hello version 2\n└ web 1/2 running\n    web.2 preparing on n1  pulling 12.3 of 81.0 MB',
      'hello version 2\n└ web 1/1 running',
      'finished',
    ]);
  });

  it('gives up after --timeout, with the reasons', async () => {
    const stuck = progress({
      version: 2,
      converged: false,
      services: [
        aService({ replicas: { desired: 2, running: 0 } }),
        aService({ name: 'db', replicas: { desired: 1, running: 0 } }),
      ],
      tasks: [aTask({ state: 'pending', node: null, startedAt: null, reason: '0/3 nodes fit: 3 lack memory' })],
    });
    line.control.watches = [[stuck, 'silence']];
    expect(await line.run('apply', '--wait', '--timeout', '50ms', '-o', 'json')).toBe(3);
    expect(line.out).toBe('');
    const last = line.err.trimEnd().split('\n').at(-1) ?? '';
    expect(JSON.parse(last)).toEqual({
      error: {
        code: 'deadline',
        message: 'hello: not as declared after 0.05 s; the cluster goes on trying',
        problems: [
          { where: 'hello/web.1', message: 'pending: 0/3 nodes fit: 3 lack memory' },
          { where: 'hello/db', message: '0 of 1 replicas run' },
        ],
        logs: [],
      },
    });
  });

  it('tells its progress to scripts as one object a line', async () => {
    line.control.watches = [[starting, starting, new FrotaError('unavailable', 'gone')], [progress({ version: 2 })]];
    expect(await line.run('apply', '--wait', '-o', 'json')).toBe(0);
    expect(line.json()).toMatchObject({ stack: 'hello', version: 2 });
    const told = line.err
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text) as unknown);
    expect(told).toEqual([
      { progress: { stack: 'hello', ...starting } },
      { note: 'the controller does not answer; trying again' },
      { progress: { stack: 'hello', ...progress({ version: 2 }) } },
    ]);
  });

  it('says so when nothing was told at all', async () => {
    line.control.watches = [['silence']];
    expect(await line.run('apply', '--wait', '--timeout', '20ms')).toBe(3);
    expect(line.err).toContain('hello: the controller told nothing about it');
  });

  const crash = { service: 'web', slot: 1, taskId: 'a1', node: 'n2', started: true, reason: 'exited with code 3' };
  const written = (...texts: readonly string[]) => [
    {
      sources: [{ index: 0, taskId: 'a1', stack: 'hello', service: 'web', slot: 1, node: 'n2' }],
      lines: texts.map((text) => ({
        source: 0,
        line: {
          time: '2026-11-21T06:00:00.000000000Z',
          stream: 'stderr' as const,
          text: Buffer.from(text),
          ordinal: 1,
        },
      })),
      notices: [],
    },
  ];

  it('ends at once where there is no hope, with the last lines of what failed', async () => {
    const hopeless = progress({
      version: 2,
      converged: false,
      services: [aService({ replicas: { desired: 1, running: 0 } })],
      tasks: [aTask({ id: 'a1', node: 'n2', state: 'failed', exitCode: 3, reason: 'exited with code 3' })],
      stuck: [{ service: 'web', slot: 1, node: 'n2', reason: 'failed: exited with code 3' }],
      failed: [crash, { ...crash, service: 'db', taskId: 'b1' }],
    });
    line.control.logReplies = written('connecting', 'no \u001b[31mdatabase');
    line.control.watches = [[hopeless, 'silence']];
    expect(await line.run('apply', '--wait')).toBe(3);
    expect(line.err.split('\n').slice(-6)).toEqual([
      'error: hello: not as declared, and it will not come to that by itself',
      '  hello/web.1 on n2: failed: exited with code 3',
      'the last lines of hello/web.1 on n2 (task a1)',
      '  | connecting',
      '  | no  [31mdatabase',
      '',
    ]);
    expect(line.control.calls.at(-1)).toEqual({ logs: { targets: ['a1'], tail: 10, follow: false } });
  });

  it('gives up a crash loop after --timeout, with the attempt before and its last lines', async () => {
    const looping = progress({
      version: 2,
      converged: false,
      services: [aService({ replicas: { desired: 1, running: 0 } })],
      tasks: [aTask({ id: 'a2', state: 'preparing', restarts: 4, startedAt: null })],
      failed: [crash],
    });
    line.control.logReplies = written('boom');
    line.control.watches = [[looping, 'silence']];
    expect(await line.run('apply', '--wait', '--timeout', '30ms', '-o', 'json')).toBe(3);
    expect(JSON.parse(line.err.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({
      error: {
        code: 'deadline',
        problems: [
          { where: 'hello/web.1', message: 'preparing on n1: attempt 5, the one before on n2: exited with code 3' },
        ],
        logs: [{ task: 'a1', service: 'web', slot: 1, node: 'n2', missing: null, lines: [{ message: 'boom' }] }],
      },
    });
  });

  it('tells in lines once what became of the attempt before, not with every step of this one', async () => {
    const next = (state: 'preparing' | 'starting') =>
      progress({ version: 2, converged: false, tasks: [aTask({ id: 'a2', state, restarts: 4 })], failed: [crash] });
    line.control.watches = [[next('preparing'), next('starting'), progress({ version: 2 })]];
    expect(await line.run('apply', '--wait')).toBe(0);
    expect(line.err.split('\n').filter((text) => text.startsWith('hello/web.1'))).toEqual([
      'hello/web.1 attempt 5, the one before on n2: exited with code 3',
      'hello/web.1 preparing on n1',
      'hello/web.1 starting on n1',
    ]);
  });

  it('reads what still starts, and says why it can’t', async () => {
    const unwell = progress({
      version: 2,
      converged: false,
      tasks: [aTask({ state: 'starting', health: 'starting', reason: 'exit code 1: refused' })],
    });
    line.control.watches = [[unwell, 'silence']];
    line.control.logs = async function* () {
      await Promise.resolve();
      yield* [];
      throw new FrotaError('unavailable', 'node n1 has no session');
    };
    expect(await line.run('apply', '--wait', '--timeout', '30ms')).toBe(3);
    expect(line.err).toContain('hello/web.1: starting on n1: exit code 1: refused\n');
    expect(line.err).toContain(
      "no lines of hello/web.1 on n1 (task t1): its log can't be read: node n1 has no session\n",
    );
  });

  it('takes a task that has completed for what it is, and an unhealthy one for unsettled', async () => {
    const twoKinds = progress({
      version: 2,
      converged: false,
      services: [
        aService({ replicas: { desired: 1, running: 1 } }),
        aService({ name: 'job', replicas: { desired: 1, running: 0 } }),
      ],
      tasks: [
        aTask({ health: 'unhealthy', reason: '3 checks failed' }),
        aTask({ id: 'j1', service: 'job', state: 'complete' }),
      ],
    });
    line.control.watches = [[twoKinds, 'silence']];
    expect(await line.run('apply', '--wait', '--timeout', '30ms')).toBe(3);
    expect(line.err).toContain('hello/job 1/1 completed\n');
    const problems = line.err.split('\n').filter((text) => text.startsWith('  '));
    expect(problems).toEqual(['  hello/web.1: running (unhealthy) on n1: 3 checks failed']);
  });

  it('comes through a controller that restarts', async () => {
    line.control.watches = [[starting, new FrotaError('unavailable', 'gone')], [], [progress({ version: 2 })]];
    expect(await line.run('apply', '--wait')).toBe(0);
    expect(line.err.match(/the controller does not answer; trying again/gu)).toHaveLength(1);
    expect(
      line.control.calls.filter((call) => typeof call === 'object' && call !== null && 'watchStack' in call),
    ).toHaveLength(3);
  });

  it('ends when somebody removes the stack', async () => {
    line.control.watches = [[starting, progress({ declared: false, converged: false })]];
    expect(await line.run('apply', '--wait')).toBe(1);
    expect(line.err).toContain('stack hello was removed while this command waited for it');
  });

  it('does not take a controller that trails its own answer for a removal', async () => {
    const notYet = progress({ declared: false, version: 0, services: [], tasks: [] });
    const unknown = new FrotaError('not-found', 'no stack hello');
    line.control.watches = [[unknown], [notYet, progress({ version: 2 })]];
    expect(await line.run('apply', '--wait')).toBe(0);
  });

  it('ends when the person stops waiting', async () => {
    line.control.watches = [[starting, 'silence']];
    setTimeout(() => {
      line.stop.abort();
    }, 20);
    expect(await line.run('apply', '--wait')).toBe(130);
    expect(line.err).toContain('stopped waiting; the change was accepted and goes on');
  });
});

describe('scale --wait', () => {
  it('waits until it shows the new number and the surplus is gone', async () => {
    line.control.scaled = [{ stack: 'hello', service: 'web', before: 2, after: 1 }];
    const before = progress({ services: [aService({ replicas: { desired: 2, running: 2 } })] });
    const leaving = progress({
      converged: false,
      tasks: [aTask(), aTask({ id: 't2', slot: 2, desiredState: 'shutdown' })],
    });
    line.control.watches = [[before, leaving, progress()]];
    expect(await line.run('scale', 'web=1', '--wait')).toBe(0);
    expect(line.err).toBe('hello/web 2/2 running\nhello/web 1/1 running\nhello/web.2 running (stopping) on n1\n');
  });

  it('waits for every stack that was touched', async () => {
    line.control.scaled = [
      { stack: 'hello', service: 'web', before: 1, after: 1 },
      { stack: 'shop', service: 'web', before: 1, after: 1 },
    ];
    expect(await line.run('scale', 'hello/web=1', 'shop/web=1', '--wait')).toBe(0);
    expect(line.control.calls.slice(1)).toEqual([{ watchStack: 'hello' }, { watchStack: 'shop' }]);
  });
});

describe('rm --wait', () => {
  it('waits until the last task is gone', async () => {
    const leaving = progress({
      declared: false,
      converged: false,
      services: [],
      tasks: [aTask({ desiredState: 'shutdown' })],
    });
    const gone = progress({ declared: false, converged: true, services: [], tasks: [] });
    line.control.watches = [[progress(), leaving, gone]];
    expect(await line.run('rm', 'hello', '--wait')).toBe(0);
    expect(line.err).toBe('hello/web 1/1 running\nhello/web.1 running (stopping) on n1\nhello removed\n');
    expect(line.out).toBe('hello: removed with web\n');
  });

  it('is done when the controller does not know the stack any more', async () => {
    line.control.watches = [[new FrotaError('not-found', 'no stack hello')]];
    expect(await line.run('rm', 'hello', '--wait')).toBe(0);
  });
});
