import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FrotaError } from '../../../proto/base/errors.ts';
import { jsonCluster, liveCluster, plainCluster } from '../../../cli/render/cluster-progress.ts';
import { coloursFor } from '../../../cli/render/colours.ts';
import { aNode, aService, aTask } from './fake-control.ts';
import { CommandLine } from './fake-host.ts';

let line: CommandLine;

beforeEach(async () => {
  line = new CommandLine();
  await line.addContext();
});

afterEach(() => {
  // Whatever the outcome, no connection is left open.
  expect(line.control.open).toBe(0);
  line.remove();
});

const compose = 'name: hello\nservices: {web: {image: app}}\n';

describe('lists', () => {
  it('print one array with exactly the fields of the views, and nothing else', async () => {
    line.control.tasks = [aTask()];
    line.control.services = [aService()];
    line.control.nodes = [aNode()];
    for (const [verb, rows] of [
      [['ps'], line.control.tasks],
      [['ls'], line.control.services],
      [['node', 'ls'], line.control.nodes],
    ] as const) {
      expect(await line.run(...verb, '-o', 'json')).toBe(0);
      expect(line.json()).toEqual(rows);
      expect(line.err).toBe('');
    }
  });

  it('print empty arrays and empty tables', async () => {
    expect(await line.run('ps', '--output=json')).toBe(0);
    expect(line.json()).toEqual([]);
    expect(await line.run('ls')).toBe(0);
    expect(line.out).toBe('SERVICE   MODE   RUNNING   IMAGE   PORTS   UPDATE\n');
  });

  it('hand on what was asked for', async () => {
    await line.run('ls', 'hello');
    await line.run('ps', 'hello/web', '--all');
    await line.run('ps');
    expect(line.control.calls).toEqual([
      { listServices: 'hello' },
      { listTasks: { all: true, service: 'hello/web' } },
      { listTasks: { all: false } },
    ]);
  });

  it('show a table to people', async () => {
    line.control.tasks = [
      aTask(),
      aTask({
        id: 't2',
        slot: 2,
        node: null,
        state: 'pending',
        address: null,
        reason: '0/3 nodes fit: 3 lack\u001b[31m memory',
      }),
      aTask({ id: 't3', slot: 3, state: 'failed', health: 'healthy', exitCode: 137, restarts: 2, reason: 'killed' }),
      aTask({ id: 't4', slot: 4, desiredState: 'shutdown', health: 'unhealthy' }),
    ];
    await line.run('ps');
    expect(line.out.split('\n')).toEqual([
      'ID   TASK          NODE   STATE                           SINCE   ADDRESS      RESTARTS   REASON',
      't1   hello/web.1   n1     running                         5m      10.201.1.2   0',
      't2   hello/web.2   -      pending                         5m      -            0          0/3 nodes fit: 3 lack [31m memory',
      't3   hello/web.3   n1     failed                          5m      10.201.1.2   2          exit 137: killed',
      't4   hello/web.4   n1     running (stopping, unhealthy)   5m      10.201.1.2   0',
      '',
    ]);
    line.control.nodes = [aNode()];
    await line.run('node', 'ls');
    expect(line.out.split('\n')[1]).toBe(
      'n1     ready   active         10.200.0.11   2       0.25/2   64 MiB / 4 GiB   65m',
    );
  });
});

describe('apply', () => {
  it('finds compose.yaml, sends what it declares, and says what changed', async () => {
    line.file('compose.yaml', compose);
    expect(await line.run('apply')).toBe(0);
    expect(line.out).toBe('hello: version 1 accepted; created web\n');
    expect(line.control.calls).toMatchObject([{ apply: { name: 'hello', services: [{ name: 'web' }] } }]);
  });

  it('sends configs and secrets along, and tells all files that it cannot read', async () => {
    const mounts = 'secrets: [token], configs: [site]';
    const declared = `secrets: {token: {file: token.txt}}\nconfigs: {site: {content: "a: 1"}}\n`;
    line.file('compose.yaml', `services: {web: {image: app, ${mounts}}}\n${declared}`);
    expect(await line.run('apply')).toBe(2);
    expect(line.err).toContain('secrets.token: there is no file token.txt');
    expect(line.control.calls).toEqual([]);
    line.file('token.txt', 'pear');
    expect(await line.run('apply')).toBe(0);
    const bytesOf = (text: string) => new TextEncoder().encode(text);
    const [call] = line.control.calls as [{ contents: { name: string; bytes: Uint8Array }[] }];
    expect(call.contents.map(({ name, bytes }) => [name, Uint8Array.from(bytes)]).sort()).toEqual([
      ['site', bytesOf('a: 1')],
      ['token', bytesOf('pear')],
    ]);
    expect(line.out + line.err).not.toContain('pear');
  });

  it('takes the other usual names, in order, and says so when there are two', async () => {
    line.file('docker-compose.yml', 'services: {a: {image: x}}');
    await line.run('apply', '-o', 'json');
    expect(line.json()).toMatchObject({ stack: 'shop', version: 1, changed: true, created: ['web'] });
    line.file('compose.yml', compose);
    await line.run('apply');
    expect(line.out).toContain('hello:');
    expect(line.err).toContain('compose.yml and docker-compose.yml are here; compose.yml is taken');
  });

  it('reads standard input', async () => {
    line.stdin = 'services: {web: {image: app}}';
    expect(await line.run('apply', '-n', 'other', '-f', '-')).toBe(0);
    expect(line.out).toContain('other: version 1');
    line.stdin = 'services: {web: {img: app}}';
    expect(await line.run('apply', '-f', '-')).toBe(2);
    expect(line.err).toContain('<stdin>:1:18 services.web.img: unknown key');
  });

  it('fills in variables and tells notices on standard error', async () => {
    line.environment['TAG'] = '7';
    line.file('compose.yaml', 'version: "3"\nservices: {web: {image: "app:${TAG}", user: "$NONE"}}\n');
    line.file('.env', 'NONE=1\n');
    expect(await line.run('apply', '-o', 'json')).toBe(0);
    expect(line.control.calls).toMatchObject([
      { apply: { services: [{ template: { image: { reference: 'app:7' } } }] } },
    ]);
    expect(line.err).toContain('notice: compose.yaml:1:1 version: obsolete');
    expect(line.err).toContain('the variable NONE is not set');
    expect(line.err).toContain('.env is not read by this version');
  });

  it('shows every problem in its line and sends nothing', async () => {
    line.file('compose.yaml', 'services:\n  web:\n    image: app\n    restrat: always\n    ports: ["1:2:3"]\n');
    expect(await line.run('apply')).toBe(2);
    expect(line.control.calls).toEqual([]);
    expect(line.out).toBe('');
    expect(line.err).toBe(
      [
        'compose.yaml:4:5 services.web.restrat: unknown key; did you mean "restart"?',
        '    4 |     restrat: always',
        '      |     ^',
        'compose.yaml:5:13 services.web.ports[0]: every node publishes on all of its addresses, so "1" can\'t be chosen; write "2:3"',
        '    5 |     ports: ["1:2:3"]',
        '      |             ^',
        'error: compose.yaml: 2 problems, nothing was applied',
        '',
      ].join('\n'),
    );
  });

  it('gives problems to editors as one object on standard error', async () => {
    line.file('compose.yaml', 'services:\n  web:\n    image: app\n    restrat: always\n');
    expect(await line.run('apply', '-o', 'json')).toBe(2);
    expect(line.out).toBe('');
    expect(JSON.parse(line.err)).toEqual({
      error: {
        code: 'invalid',
        message: 'compose.yaml: 1 problem, nothing was applied',
        problems: [
          {
            where: 'compose.yaml:4:5',
            message: 'unknown key; did you mean "restart"?',
            file: 'compose.yaml',
            line: 4,
            column: 5,
            path: 'services.web.restrat',
            suggestion: 'restart',
          },
        ],
      },
    });
  });

  it.each([
    [['apply'], 4, 'no compose.yaml, compose.yml'],
    [['apply', '-f', 'none.yaml'], 4, 'no file none.yaml'],
    [['apply', '-f', '.'], 2, '. is a folder'],
    [['apply', '-f', 'binary'], 2, 'binary is not UTF-8 text'],
    [['apply', '-f', 'huge'], 2, 'huge is too large: a Compose file has at most 512 KiB'],
  ])('%j ends with %i', async (args, status, message) => {
    line.file('binary', '');
    const { writeFileSync } = await import('node:fs');
    writeFileSync(`${line.work}/binary`, Buffer.from([0xff, 0xfe, 0xfd]));
    line.file('huge', ' '.repeat(3 * 1024 * 1024));
    expect(await line.run(...args)).toBe(status);
    expect(line.err).toContain(message);
  });
});

describe('scale, rm, token, version', () => {
  it('scales several at once', async () => {
    line.control.scaled = [
      { stack: 'hello', service: 'web', before: 3, after: 5 },
      { stack: 'hello', service: 'db', before: 1, after: 1 },
    ];
    expect(await line.run('scale', 'web=5', 'hello/db=1')).toBe(0);
    expect(line.out).toBe('hello/web: 3 -> 5\nhello/db: 1 already\n');
    expect(line.control.calls).toEqual([
      {
        scale: [
          { service: 'web', replicas: 5 },
          { service: 'hello/db', replicas: 1 },
        ],
      },
    ]);
    await line.run('scale', 'web=5', '-o', 'json');
    expect(line.json()).toEqual({ services: line.control.scaled });
  });

  it('refuses what is no SERVICE=N, all at once', async () => {
    expect(await line.run('scale', 'web', 'a=x', '=3', 'b=-1', 'c=10001', 'd=1', 'd=2')).toBe(2);
    expect(line.err.match(/expected SERVICE=N/gu)).toHaveLength(4);
    expect(line.err).toContain('c=10001: a service has at most 10000 replicas');
    expect(line.err).toContain('d=2: d is named twice');
    expect(line.control.calls).toEqual([]);
  });

  it('removes nothing where a name is wrong, and names all that are', async () => {
    expect(await line.run('rm', 'none', 'hello')).toBe(4);
    expect(line.out).toBe('');
    expect(line.err).toBe('error: there is no stack "none"; nothing was removed\n');
    expect(line.control.calls).not.toContainEqual({ removeStack: 'hello' });
    expect(await line.run('rm', 'none', 'neither', '-o', 'json')).toBe(4);
    expect(JSON.parse(line.err)).toMatchObject({
      error: {
        code: 'not-found',
        message: '2 stacks do not exist',
        problems: [{ where: 'none' }, { where: 'neither' }],
      },
    });
  });

  it('removes every stack that can be removed when one can’t just then', async () => {
    line.control.stacks = ['hello', 'shop'];
    const { removeStack } = line.control;
    line.control.removeStack = (stack) =>
      stack === 'hello'
        ? Promise.reject(new FrotaError('conflict', 'hello was changed'))
        : removeStack.call(line.control, stack);
    expect(await line.run('rm', 'hello', 'shop')).toBe(1);
    expect(line.out).toBe('shop: removed with web\n');
    expect(line.err).toBe('error: hello was changed\n');
  });

  it('prints the line with which an agent joins', async () => {
    expect(await line.run('cluster', 'token', '--ttl', '10m')).toBe(0);
    expect(line.out).toBe('frota agent --join 10.200.0.2:7401 --token T.secret\n');
    await line.run('cluster', 'token', '-o', 'json');
    expect(line.json()).toEqual({
      token: 'T.secret',
      joinAddress: '10.200.0.2:7401',
      expiresAt: '2027-01-15T08:00:00.000Z',
      command: 'frota agent --join 10.200.0.2:7401 --token T.secret',
    });
    expect(line.control.calls).toEqual([{ createJoinToken: 600 }, { createJoinToken: 3600 }]);
  });

  it('knows both versions, and its own when there is no answer', async () => {
    await line.run('version', '-o', 'json');
    expect(line.json()).toMatchObject({ server: { context: 'local', version: '9.9.9', clusterId: 'c1' } });
    line.control.failure = new FrotaError('unavailable', 'no answer');
    expect(await line.run('version', '-o', 'json')).toBe(0);
    expect(line.json()).toMatchObject({ server: null });
    expect(line.err).toContain('no answer');
    expect(await line.run('-V')).toBe(0);
    expect(line.out).toMatch(/^frota \d+\.\d+\.\d+\n$/u);
  });
});

describe('contexts', () => {
  it('are listed, chosen and used', async () => {
    await line.addContext('other', { addresses: ['h:1'], ca: '', certificate: '', key: '' });
    await line.run('context', 'ls', '-o', 'json');
    expect(line.json()).toEqual([
      { name: 'local', current: true, addresses: ['10.200.0.2:7400', '10.200.0.2:7401'] },
      { name: 'other', current: false, addresses: ['h:1'] },
    ]);
    expect(await line.run('context', 'use', 'other')).toBe(0);
    await line.run('ls');
    await line.run('ls', '--context', 'local');
    line.environment['FROTA_CONTEXT'] = 'local';
    await line.run('ls');
    expect(line.connected.map(({ addresses }) => addresses[0])).toEqual(['h:1', '10.200.0.2:7400', '10.200.0.2:7400']);
    await line.run('context', 'ls');
    expect(line.out).toContain('*         local   10.200.0.2:7400, 10.200.0.2:7401\n');
    expect(await line.run('context', 'use', 'none')).toBe(4);
  });

  it('are asked for when there are none', async () => {
    line.environment['FROTA_CONFIG_DIR'] = `${line.folder}/empty`;
    expect(await line.run('ps')).toBe(4);
    expect(line.err).toBe('error: no context yet: `frota cluster up` starts a local cluster and writes one\n');
  });
});

describe('usage', () => {
  it.each([
    [['aply'], "unknown command 'aply' (Did you mean apply?)"],
    [['ps', '--al'], "unknown option '--al' (Did you mean --all?)"],
    [['cluster', 'upp'], "unknown command 'upp' (Did you mean up?)"],
    [['cluster'], 'a verb is missing'],
    [['rm'], "missing required argument 'stack'"],
    [['ps', 'a', 'b'], 'too many arguments'],
    [['ls', '-o', 'xml'], 'Allowed choices are table, json.'],
    [['apply', '--timeout', '5'], 'Write a duration such as 60s or 1m30s.'],
    [['apply', '--timeout', '0s'], 'Write a duration between'],
    [['cluster', 'up', '--nodes', '0'], 'Write a whole number from 1 to 1000.'],
  ])('%j is refused', async (args, message) => {
    expect(await line.run(...args)).toBe(2);
    expect(line.err).toContain(message);
    expect(line.out).toBe('');
    expect(await line.run(...args.filter((arg) => arg !== '-o' && arg !== 'xml'), '-o', 'json')).toSatisfy(
      (code) => code === 2 || args.includes('xml'),
    );
  });

  it.each([
    ['invalid', 2],
    ['not-found', 4],
    ['unavailable', 5],
    ['unauthenticated', 5],
    ['conflict', 1],
    ['internal', 1],
    ['deadline', 3],
    ['cancelled', 130],
  ] as const)('an error of the controller with code %s ends with %i', async (code, status) => {
    line.control.failure = new FrotaError(code, 'because', { problems: [{ where: 'web', message: 'no such tag' }] });
    expect(await line.run('ls')).toBe(status);
    expect(line.err).toBe('error: because\n  web: no such tag\n');
  });

  it('a problem that the sentence tells already is not told again', async () => {
    const problems = [{ where: 'web', message: 'no such tag' }];
    line.control.failure = new FrotaError('invalid', 'not accepted: web: no such tag', { problems });
    expect(await line.run('ls')).toBe(2);
    expect(line.err).toBe('error: not accepted: web: no such tag\n');
  });

  it('shows help with examples for every verb', async () => {
    expect(await line.run()).toBe(0);
    for (const verb of [
      'cluster',
      'controller',
      'agent',
      'apply',
      'ls',
      'ps',
      'scale',
      'rm',
      'node',
      'context',
      'version',
    ]) {
      expect(line.out).toMatch(new RegExp(`^  ${verb} `, 'mu'));
    }
    for (const verb of [
      'apply',
      'ls',
      'ps',
      'scale',
      'rm',
      'node ls',
      'context ls',
      'context use',
      'version',
      'cluster up',
      'cluster down',
      'cluster token',
    ]) {
      expect(await line.run(...verb.split(' '), '--help')).toBe(0);
      expect(line.out).toContain('Examples:\n  $ frota ');
      expect(line.err).toBe('');
    }
  });
});

describe('events and inspect', () => {
  const event = {
    sequence: 7,
    revision: 3,
    atMs: Date.parse('2026-11-24T10:00:00.123Z'),
    kind: 'task.failed',
    stack: 'hello',
    service: 'web',
    slot: 2,
    taskId: 't2',
    node: 'n1',
    message: 'failed (exit code 1)',
    cause: 'exited with code 1',
  };

  it('are told to be none where the subject has none in that time', async () => {
    line.control.events = [];
    expect(await line.run('events', 'wbe')).toBe(0);
    expect(line.out).toBe('');
    expect(line.err).toBe('note: the history tells nothing of "wbe" in that time\n');
  });

  it('are told a line each, with what caused them', async () => {
    line.control.events = [event];
    expect(await line.run('events', '--since', '10m', '-n', '5', 'web')).toBe(0);
    expect(line.out).toBe(
      '2026-11-24T10:00:00.123Z  task.failed        hello/web.2 on n1: failed (exit code 1) (exited with code 1)\n',
    );
    expect(line.control.calls).toEqual([
      { listEvents: { follow: false, subject: 'web', sinceAgoMs: 600_000, last: 5 } },
    ]);
  });

  it('of tasks may be asked for by number, or all', async () => {
    expect(await line.run('logs', 'web', '--tail', 'all')).toBe(0);
    expect(await line.run('logs', 'web', '-f', '--until', '1s', '-n', '3')).toBe(0);
    expect(line.control.calls).toMatchObject([
      { logs: { targets: ['web'], follow: false } },
      { logs: { targets: ['web'], follow: false, tail: 3 } },
    ]);
    expect(line.control.calls[0]).not.toHaveProperty('logs.tail');
    expect(await line.run('logs', 'web', '--tail', 'some')).toBe(2);
  });

  it('are not followed beyond a moment that they end at', async () => {
    expect(await line.run('events', '-f', '--until', '1m')).toBe(0);
    expect(line.control.calls).toEqual([{ listEvents: { follow: false, untilAgoMs: 60_000 } }]);
  });

  it('are one JSON object a line for scripts', async () => {
    line.control.events = [event, { ...event, sequence: 8 }];
    expect(await line.run('events', '-o', 'json')).toBe(0);
    const lines = line.out.trimEnd().split('\n');
    expect(lines.map((each) => (JSON.parse(each) as { sequence: number }).sequence)).toEqual([7, 8]);
  });

  it('refuse a moment that is none', async () => {
    expect(await line.run('events', '--since', 'yesterday')).toBe(2);
    expect(line.err).toContain('Write a duration such as 10m');
  });

  it('show what is there, and fail for what is not', async () => {
    line.control.inspected.set('n1', [{ kind: 'node', json: '{"id":"x"}' }]);
    expect(await line.run('inspect', 'n1', 'nope')).toBe(4);
    expect(line.json()).toEqual([{ kind: 'node', id: 'x' }]);
    expect(line.err).toContain('"nope"');
  });
});

describe('the progress of cluster up', () => {
  const colours = coloursFor(false, {});
  const standing = (state: string) => [
    { name: 'n1', state: 'ready' },
    { name: 'n2', state },
  ];

  it('is a tree on a terminal: steps, then nodes', () => {
    const shown: string[] = [];
    const block = { write: (text: string) => void shown.push(text), finish: () => void shown.push('finished') };
    const view = liveCluster(block, 'local', colours);
    view.step('starting agents on n1, n2');
    view.nodes(standing('starting'));
    view.close();
    expect(shown).toEqual([
      'local\n└ starting agents on n1, n2',
      'local\n├ starting agents on n1, n2\n├ n1 ready\n└ n2 starting',
      'finished',
    ]);
  });

  it('is a line for each change elsewhere, and an object for scripts', () => {
    const told: string[] = [];
    for (const view of [plainCluster((text) => told.push(text), colours), jsonCluster((text) => told.push(text))]) {
      view.step('starting');
      view.nodes(standing('starting'));
      view.nodes(standing('starting'));
      view.nodes(standing('ready'));
    }
    expect(told).toEqual([
      'starting\n',
      'waiting until n2 is ready\n',
      '{"progress":{"step":"starting"}}\n',
      '{"progress":{"nodes":[{"name":"n1","state":"ready"},{"name":"n2","state":"starting"}]}}\n',
      '{"progress":{"nodes":[{"name":"n1","state":"ready"},{"name":"n2","state":"ready"}]}}\n',
    ]);
  });
});
