import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import {
  afterCheck,
  containerCheck,
  delayToNextCheckMs,
  healthReason,
  isHealthNews,
  newHealth,
  outcomeOf,
} from '../../../agent/reconcile/health.ts';
import type { CheckOutcome, ContainerCheck, HealthState } from '../../../agent/reconcile/health.ts';
import type { HealthCheck } from '../../../proto/domain/health.ts';

const check = (over: Partial<HealthCheck> = {}): ContainerCheck => {
  const made = containerCheck({ test: ['CMD', 'ok'], ...over }, undefined);
  if (made === undefined) throw new Error('no check');
  return made;
};
const passed: CheckOutcome = { kind: 'passed' };
const failed = (why = 'exit code 1'): CheckOutcome => ({ kind: 'failed', why });

describe('containerCheck', () => {
  const defaults = { intervalMs: 30_000, timeoutMs: 30_000, retries: 3, startPeriodMs: 0, startIntervalMs: 1_000, rampsUp: true }; // prettier-ignore
  const image: HealthCheck = { test: ['CMD-SHELL', 'curl -f localhost'], intervalMs: 5_000, retries: 7 };
  const table: [string, HealthCheck | undefined, HealthCheck | undefined, object | undefined][] = [
    ['nothing said, nothing checked', undefined, undefined, undefined],
    ['times without a test check nothing', { intervalMs: 1_000 }, undefined, undefined],
    ['a program', { test: ['CMD', 'a', 'b'] }, undefined, { ...defaults, args: ['a', 'b'] }],
    ['a line for the shell', { test: ['CMD-SHELL', 'a && b'] }, undefined, { ...defaults, args: ['/bin/sh', '-c', 'a && b'] }],
    ["the image's own", undefined, image, { ...defaults, args: ['/bin/sh', '-c', 'curl -f localhost'], intervalMs: 5_000, retries: 7 }],
    ['field by field', { intervalMs: 2_000 }, image, { ...defaults, args: ['/bin/sh', '-c', 'curl -f localhost'], intervalMs: 2_000, retries: 7 }],
    ["another test, the image's times", { test: ['CMD', 'x'] }, image, { ...defaults, args: ['x'], intervalMs: 5_000, retries: 7 }],
    ['none, whatever the image says', { test: ['NONE'] }, image, undefined],
    ['none of the image', undefined, { test: ['NONE'] }, undefined],
    ['one that the image has switched off, back on', { test: ['CMD', 'x'] }, { test: ['NONE'] }, { ...defaults, args: ['x'] }],
    ['a form nobody knows is none, as in Docker', undefined, { test: ['curl', 'localhost'] }, undefined],
    ['a start interval that somebody set is kept to', { test: ['CMD', 'x'], startIntervalMs: 4_000 }, undefined, { ...defaults, args: ['x'], startIntervalMs: 4_000, rampsUp: false }],
    ['longer than a timer can wait', { test: ['CMD', 'x'], intervalMs: 1e12 }, undefined, { ...defaults, args: ['x'], intervalMs: 2 ** 31 - 1 }],
  ]; // prettier-ignore
  it.each(table)('%s', (_name, service, ofImage, expected) => {
    expect(containerCheck(service, ofImage)).toEqual(expected);
  });

  it("uses the image's shell", () => {
    const args = containerCheck(undefined, image, ['/bin/bash', '-eo', 'pipefail', '-c'])?.args;
    expect(args).toEqual(['/bin/bash', '-eo', 'pipefail', '-c', 'curl -f localhost']);
  });
});

/** Checks as they would be run, from the start on, until `atMs`: `answer` says what comes of the one begun then. */
function run(plan: ContainerCheck, untilMs: number, answer: (atMs: number) => CheckOutcome, takesMs = 0) {
  let state: HealthState = newHealth;
  let atMs = 0;
  const seen: { atMs: number; state: HealthState }[] = [];
  while (atMs <= untilMs) {
    state = afterCheck(state, answer(atMs), plan, atMs);
    seen.push({ atMs, state });
    atMs += takesMs + delayToNextCheckMs(state, plan);
  }
  return seen;
}
const firstAt = (seen: ReturnType<typeof run>, health: HealthState['health']): number | undefined =>
  seen.find(({ state }) => state.health === health)?.atMs;

describe('the checks of a container', () => {
  it('are frequent until the first success, then as the file says', () => {
    const seen = run(check({ intervalMs: 10_000 }), 20_000, (atMs) => (atMs < 900 ? failed() : passed));
    expect(seen.map(({ atMs }) => atMs)).toEqual([0, 100, 300, 700, 1_500, 11_500]);
    const declared = run(check({ intervalMs: 10_000, startIntervalMs: 400 }), 20_000, (atMs) => (atMs < 900 ? failed() : passed)); // prettier-ignore
    expect(declared.map(({ atMs }) => atMs)).toEqual([0, 400, 800, 1_200, 11_200]);
  });

  it('that succeed at once make it healthy at once', () => {
    expect(run(check(), 0, () => passed)[0]?.state).toMatchObject({ health: 'healthy', hasPassed: true });
  });

  it('make it unhealthy after as many failures in a row as were declared', () => {
    const seen = run(check({ intervalMs: 1_000, retries: 2 }), 30_000, (atMs) => (atMs === 0 || atMs === 2_000 ? passed : failed())); // prettier-ignore
    // 0 passes, 1 s fails, 2 s passes, 3 s and 4 s fail.
    expect(firstAt(seen, 'unhealthy')).toBe(4_000);
    expect(seen.at(-1)?.state.hasPassed).toBe(true);
  });

  it('make it healthy again with one success', () => {
    const seen = run(check({ intervalMs: 1_000, retries: 1 }), 3_000, (atMs) => (atMs === 1_000 ? failed() : passed));
    expect(seen.map(({ state }) => state.health)).toEqual(['healthy', 'unhealthy', 'healthy', 'healthy']);
  });

  it('do not condemn one that starts slowly sooner than Docker would: the failures that count are an interval apart', () => {
    // Docker: first check after one interval, unhealthy after three of them.
    const never = run(check({ intervalMs: 10_000, retries: 3 }), 60_000, () => failed());
    expect(firstAt(never, 'unhealthy')).toBeGreaterThanOrEqual(30_000);
    expect(firstAt(never, 'unhealthy')).toBeLessThan(31_500);
    const slow = run(check({ intervalMs: 10_000, retries: 3 }), 60_000, (atMs) => (atMs < 25_000 ? failed() : passed));
    expect(firstAt(slow, 'unhealthy')).toBeUndefined();
    expect(firstAt(slow, 'healthy')).toBeLessThan(26_500);
  });

  it('count no failure of the start period', () => {
    const times = { intervalMs: 1_000, retries: 1, startPeriodMs: 20_000 };
    const never = run(check(times), 40_000, () => failed());
    expect(firstAt(never, 'unhealthy')).toBeGreaterThanOrEqual(20_000);
    // After a success within it they count, as in Docker.
    const once = run(check(times), 40_000, (atMs) => (atMs < 3_000 ? passed : failed()));
    expect(firstAt(once, 'unhealthy')).toBeLessThan(4_500);
  });

  it('never leave it unhealthy before retries failures in a row, nor other than healthy after a success', () => {
    const outcome = fc.boolean().map((ok) => (ok ? passed : failed()));
    const times = fc.record({
      intervalMs: fc.integer({ min: 1, max: 5_000 }),
      retries: fc.integer({ min: 1, max: 5 }),
      startPeriodMs: fc.integer({ min: 0, max: 10_000 }),
    });
    fc.assert(
      fc.property(fc.array(outcome, { minLength: 1, maxLength: 30 }), times, fc.integer({ min: 0, max: 3_000 }), (outcomes, declared, takesMs) => {
        const plan = check(declared);
        let [state, atMs, row]: [HealthState, number, number] = [newHealth, 0, 0];
        for (const each of outcomes) {
          state = afterCheck(state, each, plan, atMs);
          row = each.kind === 'passed' ? 0 : row + 1;
          expect(state.failures).toBe(row);
          if (each.kind === 'passed') expect(state).toMatchObject({ health: 'healthy', hasPassed: true });
          if (state.health === 'unhealthy') expect(row).toBeGreaterThanOrEqual(plan.retries);
          if (state.health === 'unhealthy' && !state.hasPassed) expect(atMs).toBeGreaterThanOrEqual(plan.startPeriodMs + plan.retries * plan.intervalMs); // prettier-ignore
          if (state.hasPassed && row >= plan.retries) expect(state.health).toBe('unhealthy');
          const delayMs = delayToNextCheckMs(state, plan);
          expect(delayMs).toBeGreaterThan(0);
          atMs += takesMs + delayMs;
        }
      }),
    );
  }); // prettier-ignore
});

describe('what is told of it', () => {
  it('is a change of health or of state, and why it does not get further while it starts', () => {
    const first = afterCheck(newHealth, failed('exit code 1: refused'), check(), 0);
    const again = afterCheck(first, failed('exit code 1: refused'), check(), 100);
    const other = afterCheck(again, failed('exit code 1: no route'), check(), 300);
    const healthy = afterCheck(other, passed, check(), 700);
    const shaky = afterCheck(healthy, failed(), check(), 31_000);
    expect(isHealthNews(newHealth, first)).toBe(true);
    expect(isHealthNews(first, again)).toBe(false);
    expect(isHealthNews(first, other)).toBe(true);
    expect(isHealthNews(other, healthy)).toBe(true);
    expect(isHealthNews(healthy, shaky)).toBe(false);
    expect(healthReason(first)).toBe('its health check has not succeeded yet: exit code 1: refused');
    expect(healthReason(healthy)).toBeUndefined();
    expect(healthReason(shaky)).toBeUndefined();
  });

  it('says how many checks failed and what the last one said', () => {
    const plan = check({ intervalMs: 1, retries: 3 });
    const unwell = [10, 20, 30].reduce((state, atMs) => afterCheck(state, failed('exit code 1: connection refused'), plan, atMs), newHealth); // prettier-ignore
    expect(healthReason(unwell)).toBe('unhealthy: 3 checks failed, the last: exit code 1: connection refused');
    const once = afterCheck(newHealth, failed('exit code 2'), check({ intervalMs: 1, retries: 1 }), 5);
    expect(healthReason(once)).toBe('unhealthy: 1 check failed: exit code 2');
  });

  it('reads outcomes', () => {
    expect(outcomeOf({ kind: 'exited', exitCode: 0, output: 'noise' }, 1_000)).toEqual(passed);
    expect(outcomeOf({ kind: 'exited', exitCode: 7, output: '' }, 1_000)).toEqual(failed('exit code 7'));
    expect(outcomeOf({ kind: 'exited', exitCode: 1, output: 'trying\n  refused \n\n' }, 1_000)).toEqual(failed('exit code 1: refused')); // prettier-ignore
    expect(outcomeOf({ kind: 'timed-out', output: '' }, 1_500)).toEqual(failed('no end within 1.5 s'));
    const long = outcomeOf({ kind: 'exited', exitCode: 1, output: 'x'.repeat(10_000) }, 1_000);
    expect(long.kind === 'failed' && long.why.length).toBeLessThan(250);
  });
});
