import { describe, expect, it } from 'vitest';
import { imageLimits } from '../../../agent/image-options.ts';
import { defaultImageLimits } from '../../../agent/images/limits.ts';
import type { ImageLimits } from '../../../agent/images/limits.ts';
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

describe('what images may ask of a node', () => {
  const limits = async (...args: readonly string[]): Promise<Partial<ImageLimits>> => {
    let given: Partial<ImageLimits> = {};
    const command = agentCommand('0', (options) => {
      given = imageLimits(options);
      return Promise.resolve();
    });
    command.exitOverride().configureOutput({ writeErr: () => undefined });
    await command.parseAsync(args, { from: 'user' });
    return given;
  };

  it('is what the limits say without flags', async () => {
    expect(defaultImageLimits).toMatchObject(await limits());
    expect(Object.keys(await limits())).toHaveLength(6);
  });

  it('is what the flags say', async () => {
    const sizes = ['--max-layer-size', '2GiB', '--max-unpacked-layer', '512MiB', '--keep-free', '0B'];
    const counts = ['--max-layer-entries', '1000', '--parallel-downloads', '8', '--parallel-unpacks', '1'];
    expect(await limits(...sizes, ...counts)).toEqual({
      maxBlobBytes: 2 * 1024 ** 3,
      maxUnpackedBytes: 512 * 1024 ** 2,
      maxEntries: 1000,
      keepFreeBytes: 0,
      parallelDownloads: 8,
      parallelUnpacks: 1,
    });
  });

  it.each([
    ['--max-layer-size', '5', 'give a size'],
    ['--max-layer-size', '0GiB', 'no image could be pulled'],
    ['--max-unpacked-layer', '999999999TiB', 'give a size'],
    ['--keep-free', '-1MiB', 'give a size'],
    ['--parallel-downloads', '0', '1 to 64'],
    ['--parallel-unpacks', '1e3', '1 to 64'],
    ['--max-layer-entries', '', '1 to'],
  ])('is not %s %s', async (flag, value, message) => {
    await expect(limits(`${flag}=${value}`)).rejects.toThrow(message);
  });
});
