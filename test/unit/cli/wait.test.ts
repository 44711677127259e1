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
    expect(await line.run('apply', '--wait', '-o', 'json')).toBe(0);
    expect(line.json()).toMatchObject({ stack: 'hello', version: 2 });
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
      tasks: [aTask({ state: 'pending', node: null, reason: '0/3 nodes fit: 3 lack memory' })],
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
      },
    });
  });

  it('says so when nothing was told at all', async () => {
    line.control.watches = [['silence']];
    expect(await line.run('apply', '--wait', '--timeout', '20ms')).toBe(3);
    expect(line.err).toContain('hello: the controller told nothing about it');
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
