import { describe, expect, it } from 'vitest';
import { agentCommand } from '../../../agent/options.ts';

async function localRestartAfter(...args: readonly string[]): Promise<number | undefined> {
  let given: number | undefined;
  const command = agentCommand('0', (options) => {
    given = options.localRestartAfter;
    return Promise.resolve();
  });
  command.exitOverride().configureOutput({ writeErr: () => undefined });
  await command.parseAsync(args, { from: 'user' });
  return given;
}

describe('--local-restart-after', () => {
  it.each<[string, number, readonly string[]]>([
    ['5 s without it', 5_000, []],
    ['a duration', 120_000, ['--local-restart-after', '2m']],
    ['at once', 0, ['--local-restart-after', '0s']],
    ['never', Infinity, ['--local-restart-after', 'never']],
  ])('is %s', async (_what, expected, args) => {
    expect(await localRestartAfter(...args)).toBe(expected);
  });

  it.each(['5', '-1s', 'soon', '1e3s', ''])('is not "%s"', async (text) => {
    await expect(localRestartAfter('--local-restart-after', text)).rejects.toThrow('give a duration');
  });
});
