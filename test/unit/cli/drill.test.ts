import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { Drill, DrillReport, DrillState } from '../../../proto/domain/drill.ts';
import { connectControl } from '../../../cli/commands/connect.ts';
import { FakeControl } from './fake-control.ts';
import { CommandLine } from './fake-host.ts';
import { serveControl } from './real-server.ts';

let line: CommandLine;
beforeEach(async () => {
  line = new CommandLine();
  await line.addContext();
});
afterEach(() => {
  expect(line.control.open).toBe(0);
  line.remove();
});

const aReport = (over: Partial<DrillReport> = {}): DrillReport => ({
  verdict: 'passed',
  reason: null,
  slo: [
    { objective: 'recovery<2s', measured: 930, met: true },
    { objective: 'errors<1%', measured: 0.2, met: true },
    { objective: 'lost=0', measured: 0, met: true },
  ],
  recoveryMs: 930,
  lost: 0,
  lostSlots: [],
  probe: {
    ranMs: 31_000,
    sent: 1_550,
    failed: 3,
    errorsPercent: 0.194,
    longestGapMs: 80,
    firstFailureMs: 10,
    lastFailureMs: 50,
    latencyMs: { median: 2, p99: 9 },
    failures: { ECONNRESET: 3 },
  },
  tasks: [
    {
      task: { id: 't4', service: 'shop/web', slot: 4, node: 'n4' },
      replacement: { id: 'new', service: 'shop/web', slot: 4, node: 'n3' },
      phasesMs: {
        suspected: 600,
        confirmed: 800,
        committed: 805,
        received: 815,
        created: 890,
        running: 900,
        endpoint: 920,
        answering: 930,
      },
    },
  ],
  undo: { confirmed: true, by: 'stop' },
  notes: ['a\u001b[31m note'],
  ...over,
});

const aDrill = (state: DrillState, report?: DrillReport): Drill => ({
  id: 'd1',
  by: 'ana',
  state,
  startedAtMs: 1_800_000_000_000,
  plan: {
    kind: 'node-loss',
    node: { id: 'id-n4', name: 'n4' },
    service: 'shop/web',
    objectives: [],
    forMs: 30_000,
    probe: {
      kind: 'http',
      path: '/',
      perSecond: 50,
      targets: ['192.0.2.1:8080'],
      witness: { id: 'id-n1', name: 'n1' },
      containerPort: 80,
    },
    expected: [{ id: 't4', service: 'shop/web', slot: 4, node: 'n4' }],
    overridden: [],
  },
  ...(report && { report }),
});

const steps = (...drills: readonly Drill[]) => drills.map((drill) => ({ kind: 'drill', drill }) as const);

describe('drill run', () => {
  it('asks for what was typed, tells how it goes, and prints the report', async () => {
    line.control.drillSteps = steps(
      aDrill('arming'),
      aDrill('probing'),
      aDrill('fault'),
      aDrill('undoing'),
      aDrill('ended', aReport()),
    );
    const args = ['--service', 'web', '--slo', 'recovery<2s', '--for', '10s', '--rate', '20', '--random'];
    expect(await line.run('drill', 'run', 'node-loss', ...args)).toBe(0);
    expect(line.control.calls).toEqual([
      {
        runDrill: {
          kind: 'node-loss',
          random: true,
          service: 'web',
          slo: 'recovery<2s',
          forMs: 10_000,
          perSecond: 20,
          probe: 'http',
          path: '/',
          force: false,
          dryRun: false,
        },
      },
    ]);
    expect(line.err.split('\n')).toEqual([
      'drill d1: node-loss of n4 for 30.00 s',
      'asking shop/web from n1',
      'hurt; the undo is armed; Ctrl-C undoes it now',
      'undoing',
      '',
    ]);
    expect(line.out.split('\n')).toEqual([
      'node-loss of n4, drill d1 by ana',
      'passed',
      '  met  recovery<2s (930 ms)',
      '  met  errors<1% (0.2 %)',
      '  met  lost=0 (0)',
      'recovery: 930 ms',
      '1550 requests, 3 failed (0.194 %), asked 10 ms to 50 ms after the fault',
      '  3 x ECONNRESET',
      'longest gap 80 ms; median 2 ms, p99 9 ms',
      'undo: done (stop)',
      'note: a [31m note',
      '',
      'LOST         FROM   TO   SUSPECTED   CONFIRMED   COMMITTED   RECEIVED   CREATED   RUNNING   ENDPOINT   ANSWERING',
      'shop/web.4   n4     n3   600         800         805         815        890       900       920        930',
      '',
    ]);
  });

  it.each([
    ['passed', 0],
    ['failed', 6],
    ['aborted', 7],
  ] as const)('%s has the status %i, and its report is one object', async (verdict, status) => {
    line.control.drillSteps = steps(aDrill('ended', aReport({ verdict, reason: 'so' })));
    expect(await line.run('drill', 'run', 'node-loss', '-o', 'json')).toBe(status);
    expect(line.json()).toMatchObject({ id: 'd1', kind: 'node-loss', node: 'n4', verdict, recoveryMs: 930, lost: 0 });
  });

  it('says why something was not measured', async () => {
    const slo = [
      { objective: 'recovery<2s', measured: null, met: true },
      { objective: 'recovery<2s', measured: null, met: false },
      { objective: 'errors<1%', measured: null, met: false },
    ];
    line.control.drillSteps = steps(aDrill('ended', aReport({ slo, recoveryMs: null, probe: null, tasks: [] })));
    await line.run('drill', 'run', 'node-loss');
    expect(line.out).toContain('  met  recovery<2s (nothing was lost)\n');
    expect(line.out).toContain('  NOT MET  recovery<2s (not while the drill lasted)\n');
    expect(line.out).toContain('  NOT MET  errors<1% (nothing was asked)\n');
  });

  it('refused has a status of its own and every reason', async () => {
    const refusals = [
      { kind: 'unhealthy', message: 'node n2 is down' },
      { kind: 'busy', message: 'drill d0 is not over' },
    ] as const;
    line.control.drillSteps = [{ kind: 'refused', refusals }];
    expect(await line.run('drill', 'run', 'partition')).toBe(8);
    expect(line.out).toBe('refused: nothing was hurt\n  node n2 is down\n  drill d0 is not over\n');
    expect(await line.run('drill', 'run', 'partition', '-o', 'json')).toBe(8);
    expect(line.json()).toEqual({ verdict: 'refused', refusals });
  });

  it('only says what would be done with --dry-run', async () => {
    line.control.drillSteps = [{ kind: 'planned', plan: { ...aDrill('ended').plan, overridden: ['x'] } }];
    expect(await line.run('drill', 'run', 'node-loss', '--dry-run', '--force')).toBe(0);
    expect(line.out).toBe(
      'node-loss of n4 for 30.00 s\ntakes away shop/web.4\n' +
        'asks shop/web at 192.0.2.1:8080, 50 http requests a second, from n1\noverridden: x\n',
    );
    expect(line.control.calls).toMatchObject([{ runDrill: { dryRun: true, force: true } }]);
  });

  it('shows where an SLO is wrong, and asks nobody', async () => {
    expect(await line.run('drill', 'run', 'node-loss', '--slo', 'recovery<2,lots=0')).toBe(2);
    expect(line.err).toContain('--slo, character 10: recovery takes a duration');
    expect(line.err).toContain('--slo, character 12: expected one of recovery, errors, lost, found "lots"');
    expect(await line.run('drill', 'run', 'node-los')).toBe(2);
    expect(await line.run('drill', 'run', 'node-loss', '--node', 'n1', '--random')).toBe(2);
    expect(line.control.calls).toEqual([]);
  });

  it('an interrupt stops the drill and still brings the report', async () => {
    const ended = aDrill('ended', aReport({ verdict: 'aborted', reason: 'stopped by ana' }));
    line.control.drills = [ended];
    line.control.drillSteps = [...steps(aDrill('arming'), aDrill('fault')), 'until stopped', ...steps(ended)];
    const running = line.run('drill', 'run', 'node-loss');
    await expect.poll(() => line.err).toContain('hurt');
    line.stop.abort();
    expect(await running).toBe(7);
    expect(line.control.calls).toContainEqual({ stopDrill: 'd1' });
    expect(line.out).toContain('aborted: stopped by ana');
  });
});

describe('drill ls, show, stop', () => {
  it('list, show and stop', async () => {
    line.control.drills = [aDrill('ended', aReport()), { ...aDrill('fault'), id: 'd0' }];
    expect(await line.run('drill', 'ls')).toBe(0);
    expect(line.out.split('\n')[1]).toMatch(/^d1 {3}node-loss of n4 {3}passed {4}930 ms {5}0\.194 % {3}0 /u);
    expect(line.out.split('\n')[2]).toMatch(/^d0 {3}node-loss of n4 {3}fault {5}- /u);
    expect(await line.run('drill', 'show', 'd1', '-o', 'json')).toBe(0);
    expect(line.json()).toMatchObject({ id: 'd1', tasks: [{ task: { slot: 4 } }] });
    expect(await line.run('drill', 'show', 'dX')).toBe(4);
    expect(await line.run('drill', 'stop', 'd1')).toBe(0);
    expect(await line.run('drill', 'stop', 'dX')).toBe(4);
  });
});

describe('the connection of a drill', () => {
  it('is opened again where the controller dies on purpose, and the drill is followed to its end', async () => {
    const fake = new FakeControl();
    const ended = aDrill('ended', aReport());
    fake.drillSteps = [...steps(aDrill('fault')), new FrotaError('unavailable', 'killed')];
    fake.followSteps = steps(aDrill('fault'), ended);
    const server = await serveControl(fake);
    const control = connectControl(server.context);
    try {
      const seen: string[] = [];
      const request = { kind: 'controller-kill', random: false, slo: 'lost=0', forMs: 5_000, perSecond: 50 } as const;
      const rest = { probe: 'http', path: '/', force: false, dryRun: false } as const;
      for await (const progress of control.runDrill({ ...request, ...rest }, new AbortController().signal)) {
        if (progress.kind === 'drill') seen.push(progress.drill.state);
      }
      expect(seen).toEqual(['fault', 'fault', 'ended']);
      expect(fake.calls).toEqual([{ runDrill: { ...request, ...rest } }, { followDrill: 'd1' }]);
      fake.drills = [ended];
      expect(await control.listDrills('d1', new AbortController().signal)).toEqual([ended]);
      expect(await control.stopDrill('d1', new AbortController().signal)).toEqual(ended);
    } finally {
      control.close();
      await server.close();
    }
  });
});
