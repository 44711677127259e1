import { describe, expect, it } from 'vitest';
import { isMet, parseSlo, placeInSlo } from '../../../proto/domain/slo.ts';
import type { Objective } from '../../../proto/domain/slo.ts';

function objectives(text: string): readonly Objective[] {
  const parsed = parseSlo(text);
  if (parsed.kind === 'problems') throw new Error(JSON.stringify(parsed.problems));
  return parsed.objectives;
}

function problems(text: string): readonly (readonly [number, string])[] {
  const parsed = parseSlo(text);
  return parsed.kind === 'problems' ? parsed.problems.map(({ at, message }) => [at, message] as const) : [];
}

describe('an SLO', () => {
  it('is a list of objectives, each with its bound in ms, percent or slots', () => {
    expect(objectives('recovery<2s,errors<1%,lost=0')).toEqual([
      { metric: 'recovery', comparison: '<', limit: 2_000, text: 'recovery<2s' },
      { metric: 'errors', comparison: '<', limit: 1, text: 'errors<1%' },
      { metric: 'lost', comparison: '=', limit: 0, text: 'lost=0' },
    ]);
    expect(objectives(' recovery <= 1.5s , errors<=0.25% ').map(({ limit }) => limit)).toEqual([1_500, 0.25]);
    expect(objectives('recovery<800ms')[0]?.limit).toBe(800);
    expect(objectives('recovery<1m')[0]?.limit).toBe(60_000);
  });

  it.each([
    ['', 0, 'expected one of recovery, errors, lost, found nothing'],
    ['recover<2s', 0, 'expected one of recovery, errors, lost, found "recover"'],
    ['lost=0,', 7, 'expected one of recovery, errors, lost, found nothing'],
    ['lost=0, x', 8, 'expected one of recovery, errors, lost, found "x"'],
    ['recovery>2s', 8, 'expected <, <= or = after recovery, found ">2s"'],
    ['recovery', 8, 'expected <, <= or = after recovery, found nothing'],
    ['recovery<2', 9, 'recovery takes a duration such as 2s or 800ms, found "2"'],
    ['errors< 1', 8, 'errors takes a share such as 1% or 0.5%, found "1"'],
    ['lost=0,errors<', 14, 'errors takes a share such as 1% or 0.5%, found nothing'],
    ['lost=1.5', 5, 'lost takes a whole number of slots, found "1.5"'],
    ['lost=0,lost=1', 7, 'lost is given twice'],
  ])('%j is refused at %i', (text, at, message) => {
    expect(problems(text)).toEqual([[at, message]]);
  });

  it('tells all that is wrong at once, each with its place', () => {
    const parsed = parseSlo('recovery<2,lost=x');
    expect(parsed.kind === 'problems' && parsed.problems.map(placeInSlo)).toEqual([
      '--slo, character 10',
      '--slo, character 17',
    ]);
  });

  it('is met or not at its bound', () => {
    const [below, upTo, exactly] = objectives('recovery<2s,errors<=1%,lost=0');
    expect([isMet(below!, 1_999.9), isMet(below!, 2_000)]).toEqual([true, false]);
    expect([isMet(upTo!, 1), isMet(upTo!, 1.01)]).toEqual([true, false]);
    expect([isMet(exactly!, 0), isMet(exactly!, 1)]).toEqual([true, false]);
  });
});
