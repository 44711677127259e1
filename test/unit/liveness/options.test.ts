import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { addLivenessOptions, brakeOf, livenessProblem, livenessTimes } from '../../../controller/liveness-options.ts';
import type { LivenessOptions } from '../../../controller/liveness-options.ts';
import { defaultLivenessSettings, livenessSettings } from '../../../controller/liveness/settings.ts';
import { defaultBrake } from '../../../controller/plan/judge-nodes.ts';

function parse(...words: string[]): LivenessOptions {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => undefined });
  addLivenessOptions(command);
  return command.parse(words, { from: 'user' }).opts();
}

describe('the options of liveness', () => {
  it('are the defaults when nothing is given', () => {
    const options = parse();
    expect(livenessProblem(options)).toBeUndefined();
    expect(livenessSettings(livenessTimes(options))).toEqual(defaultLivenessSettings);
    expect(brakeOf(options)).toEqual(defaultBrake);
  });

  it('carry every other time with them', () => {
    const options = parse(
      ...['--heartbeat', '500ms', '--suspect-after', '2s', '--confirm-within', '1s', '--mass-failure-hold', '0s'],
      ...['--agent-grace', '1m', '--unreachable-grace', '2m', '--mass-failure-window', '7s'],
    );
    expect(livenessProblem(options)).toBeUndefined();
    const settings = livenessSettings(livenessTimes(options));
    expect(settings).toMatchObject({
      heartbeatIntervalMs: 500,
      suspectAfterMs: 2_000,
      confirmWithinMs: 1_000,
      agentGraceMs: 60_000,
      unreachableGraceMs: 120_000,
      firstContactMs: 4_000,
      streamSilenceMs: 4_000,
    });
    expect(settings.probeIntervalMs * (settings.minProbes + 1)).toBeLessThanOrEqual(settings.confirmWithinMs);
    expect(brakeOf(options)).toEqual({ windowMs: 7_000, holdMs: 0 });
  });

  it('say what is wrong with them, and what to give instead', () => {
    expect(() => parse('--heartbeat', 'often')).toThrow(/give a duration of at most 24h, such as 200ms/);
    expect(() => parse('--suspect-after', '25h')).toThrow(/at most 24h/);
    expect(livenessProblem(parse('--heartbeat', '5ms'))).toBe('--heartbeat 5ms is too often; give at least 20ms');
    expect(livenessProblem(parse('--heartbeat', '300ms'))).toBe(
      '--suspect-after 400ms would suspect a node for a single late heartbeat; give at least 600ms, 2 times --heartbeat',
    );
    expect(livenessProblem(parse('--confirm-within', '20ms'))).toBe(
      '--confirm-within 20ms is too short for the probes; give at least 30ms',
    );
  });
});
