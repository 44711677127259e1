import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { exitReason, nextStep } from '../../../agent/reconcile/task-step.ts';
import type { LocalTask, ObservedContainer, StepInput } from '../../../agent/reconcile/task-step.ts';
import type { AssignedTask } from '../../../proto/domain/assignment.ts';

const assigned = (desired: AssignedTask['desired']): AssignedTask => ({
  id: 't1',
  stack: 's',
  service: 'web',
  slot: 1,
  desired,
  template: {
    image: { reference: 'r/web:1', digest: `sha256:${'0'.repeat(64)}` },
    environment: {},
    labels: {},
    limits: {},
    reservations: { cpuMillis: 0, memoryBytes: 0 },
    stopGracePeriodMs: 10_000,
    drainDelayMs: 0,
    mounts: [],
    files: [],
    networks: [{ network: 'shop_default', aliases: [] }],
    generation: 0,
  },
});

const nothing: LocalTask = { imageReady: false, attached: false, container: { kind: 'absent' } };
const input = (over: Partial<StepInput> = {}): StepInput => ({
  wanted: assigned('running'),
  stopGracePeriodMs: 10_000,
  drainDelayMs: 0,
  mayStart: true,
  nowMs: 100_000,
  ...over,
});
const ended: ObservedContainer = { kind: 'ended', exitCode: 3, oomKilled: false, finishedAtMs: 99_000 };

describe('nextStep', () => {
  const table: [string, LocalTask, Partial<StepInput>, object][] = [
    ['a new task is pulled first', nothing, {}, { kind: 'pull' }],
    ['then attached', { ...nothing, imageReady: true }, {}, { kind: 'attach' }],
    ['then created', { ...nothing, imageReady: true, attached: true }, {}, { kind: 'create' }],
    ['a created container is started, whether or not its image is known', { ...nothing, attached: true, container: { kind: 'created' } }, {}, { kind: 'start' }],
    ['a running one is left alone', { ...nothing, attached: true, container: { kind: 'running' } }, {}, { kind: 'wait' }],
    ['news of its health are told', { ...nothing, container: { kind: 'running' }, hasHealthNews: true }, {}, { kind: 'tell-health' }],
    ['also by an agent that no controller has confirmed', { ...nothing, container: { kind: 'running' }, hasHealthNews: true }, { mayStart: false }, { kind: 'tell-health' }],
    ['but not of one that is leaving', { ...nothing, container: { kind: 'running' }, hasHealthNews: true }, { wanted: assigned('draining') }, { kind: 'wait' }],
    ['nor do they hold up its stop', { ...nothing, container: { kind: 'running' }, hasHealthNews: true }, { wanted: assigned('shutdown') }, { kind: 'stop' }],
    ['a stale journal starts nothing', nothing, { mayStart: false }, { kind: 'wait' }],
    ['but an unconfirmed agent leaves what runs', { ...nothing, attached: true, container: { kind: 'running' } }, { mayStart: false }, { kind: 'wait' }],
    ['not wanted: the stop signal first', { ...nothing, attached: true, container: { kind: 'running' } }, { wanted: assigned('shutdown') }, { kind: 'stop' }],
    ['then the grace period', { ...nothing, container: { kind: 'running' }, stopSentAtMs: 95_000 }, { wanted: undefined }, { kind: 'wait', untilMs: 105_000 }],
    ['then SIGKILL', { ...nothing, container: { kind: 'running' }, stopSentAtMs: 90_000 }, { wanted: undefined }, { kind: 'kill' }],
    ['SIGKILL once', { ...nothing, container: { kind: 'running' }, stopSentAtMs: 90_000, killSent: true }, { wanted: undefined }, { kind: 'wait' }],
    ['a clock that stepped back does not prolong the grace', { ...nothing, container: { kind: 'running' }, stopSentAtMs: 200_000 }, { wanted: undefined }, { kind: 'kill' }],
    ['one that is leaving its names and ports runs on', { ...nothing, attached: true, container: { kind: 'running' } }, { wanted: assigned('draining') }, { kind: 'wait' }],
    ['also with a drain delay, which has not begun', { ...nothing, container: { kind: 'running' } }, { wanted: assigned('draining'), drainDelayMs: 5_000 }, { kind: 'wait' }],
    ['once it has left them: when that was is noted first', { ...nothing, container: { kind: 'running' } }, { wanted: assigned('shutdown'), drainDelayMs: 5_000 }, { kind: 'note-drained' }],
    ['then the drain delay', { ...nothing, container: { kind: 'running' }, drainedAtMs: 98_000 }, { wanted: assigned('shutdown'), drainDelayMs: 5_000 }, { kind: 'wait', untilMs: 103_000 }],
    ['then the stop signal', { ...nothing, container: { kind: 'running' }, drainedAtMs: 95_000 }, { wanted: assigned('shutdown'), drainDelayMs: 5_000 }, { kind: 'stop' }],
    ['a clock that stepped back does not prolong the drain delay', { ...nothing, container: { kind: 'running' }, drainedAtMs: 200_000 }, { wanted: assigned('shutdown'), drainDelayMs: 5_000 }, { kind: 'stop' }],
    ['a controller that started anew and says draining again does not restart the delay', { ...nothing, container: { kind: 'running' }, drainedAtMs: 98_000 }, { wanted: assigned('draining'), drainDelayMs: 5_000 }, { kind: 'wait' }],
    ['nor take back a stop signal', { ...nothing, container: { kind: 'running' }, stopSentAtMs: 95_000 }, { wanted: assigned('draining') }, { kind: 'wait', untilMs: 105_000 }],
    ['what the node is not to have at all waits for no drain', { ...nothing, container: { kind: 'running' } }, { wanted: undefined, drainDelayMs: 5_000 }, { kind: 'stop' }],
    ['an end while it leaves is a shutdown', { ...nothing, container: ended }, { wanted: assigned('draining') }, { kind: 'finish', end: { state: 'shutdown', exitCode: 3, finishedAtMs: 99_000 } }],
    ['also before the stop signal', { ...nothing, container: ended, drainedAtMs: 98_000 }, { wanted: assigned('shutdown'), drainDelayMs: 5_000 }, { kind: 'finish', end: { state: 'shutdown', exitCode: 3, finishedAtMs: 99_000 } }],
    ['what is leaving and has not started never will', { ...nothing, attached: true, container: { kind: 'created' } }, { wanted: assigned('draining') }, { kind: 'finish', end: { state: 'shutdown', finishedAtMs: 100_000 } }],
    ['never started and no longer wanted', nothing, { wanted: assigned('shutdown') }, { kind: 'finish', end: { state: 'shutdown', finishedAtMs: 100_000 } }],
    ['a failed exit', { ...nothing, attached: true, container: ended }, {}, { kind: 'finish', end: { state: 'failed', exitCode: 3, finishedAtMs: 99_000, reason: 'exited with code 3' } }],
    ['an end that nobody saw is a failure without a code', { ...nothing, container: { kind: 'ended', oomKilled: false, finishedAtMs: 99_000 } }, {}, { kind: 'finish', end: { state: 'failed', finishedAtMs: 99_000, reason: 'ended, exit code unknown' } }],
    ['an exit after the stop signal is a shutdown', { ...nothing, container: ended, stopSentAtMs: 98_000 }, {}, { kind: 'finish', end: { state: 'shutdown', exitCode: 3, finishedAtMs: 99_000 } }],
    ['a clean exit is complete', { ...nothing, container: { ...ended, exitCode: 0 } }, {}, { kind: 'finish', end: { state: 'complete', exitCode: 0, finishedAtMs: 99_000 } }],
    ['after the end everything is released', { ...nothing, attached: true, container: ended, end: { state: 'failed', finishedAtMs: 1 } }, {}, { kind: 'release' }],
    ['the record stays while the controller wants the task', { ...nothing, end: { state: 'failed', finishedAtMs: 1 } }, {}, { kind: 'wait' }],
    ['and goes when nobody does', { ...nothing, end: { state: 'failed', finishedAtMs: 1 } }, { wanted: undefined }, { kind: 'forget' }],
  ]; // prettier-ignore
  it.each(table)('%s', (_name, local, over, step) => {
    expect(nextStep(local, input(over))).toEqual(step);
  });

  it('a started container that is gone has failed, and says what may have happened', () => {
    const step = nextStep({ ...nothing, container: { kind: 'vanished' } }, input());
    expect(step).toMatchObject({ kind: 'finish', end: { state: 'failed' } });
  });

  it('sends the stop signal at the end of the drain delay, never before it and never twice, however the clock steps', () => {
    const step = fc.record({ passesMs: fc.integer({ min: 0, max: 4_000 }), jumpsMs: fc.constantFrom(0, 0, 0, -60_000) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 8, maxLength: 20 }), fc.integer({ min: 1, max: 6_000 }), (steps, drainDelayMs) => {
        let local: LocalTask = { ...nothing, attached: true, container: { kind: 'running' } };
        let [nowMs, passedMs, stops, jumped] = [1_000_000, 0, 0, false];
        for (const { passesMs, jumpsMs } of steps) {
          const next = nextStep(local, input({ wanted: assigned('shutdown'), drainDelayMs, nowMs }));
          if (next.kind === 'note-drained') local = { ...local, drainedAtMs: nowMs };
          if (next.kind === 'stop') {
            stops += 1;
            if (!jumped) expect(passedMs).toBeGreaterThanOrEqual(drainDelayMs);
            local = { ...local, stopSentAtMs: nowMs };
          }
          if (next.kind === 'kill') break;
          passedMs += passesMs;
          jumped ||= jumpsMs !== 0;
          nowMs += passesMs + jumpsMs;
        }
        expect(stops).toBeLessThanOrEqual(1);
        if (passedMs > 2 * drainDelayMs + 8_000) expect(stops).toBe(1);
      }),
    );
  }); // prettier-ignore

  it('leads from anywhere to forgetting once a task is not wanted, and starts nothing on the way', () => {
    const containers = fc.constantFrom<ObservedContainer>({ kind: 'absent' }, { kind: 'created' }, { kind: 'running' }, { kind: 'vanished' }, ended); // prettier-ignore
    fc.assert(
      fc.property(containers, fc.boolean(), fc.boolean(), (container, imageReady, attached) => {
        let local: LocalTask = { container, imageReady, attached };
        const seen: string[] = [];
        for (let round = 0; round < 12; round += 1) {
          const step = nextStep(local, input({ wanted: undefined }));
          seen.push(step.kind);
          if (step.kind === 'forget') break;
          if (step.kind === 'stop') local = { ...local, stopSentAtMs: 0 };
          if (step.kind === 'kill') local = { ...local, killSent: true, container: ended };
          if (step.kind === 'finish') local = { ...local, end: step.end };
          if (step.kind === 'release') local = { ...local, container: { kind: 'absent' }, attached: false };
        }
        expect(seen.at(-1)).toBe('forget');
        expect(seen).not.toContain('start');
        expect(seen).not.toContain('create');
      }),
    );
  });
});

describe('exitReason', () => {
  it('names signals and memory', () => {
    expect(exitReason(1, false)).toBe('exited with code 1');
    expect(exitReason(137, false)).toBe('killed by SIGKILL (exit code 137)');
    expect(exitReason(137, true)).toContain('out of memory');
  });
});
