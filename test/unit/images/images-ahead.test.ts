import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ImagesAhead } from '../../../agent/images/images-ahead.ts';
import type { Image } from '../../../agent/images/images.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import type { ResolvedImage } from '../../../proto/domain/service.ts';

const image = (name: string): ResolvedImage => ({ reference: `r/${name}:1`, digest: `sha256:${name}` });

/** Pulls end when the test says so. */
function world() {
  const begun: string[] = [];
  const aborted: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  const ensure = ({ reference }: ResolvedImage, { signal }: { signal: AbortSignal }): Promise<Image> => {
    begun.push(reference);
    return new Promise((resolve, reject) => {
      ends.set(reference, (error) => {
        if (error === undefined) resolve({} as Image);
        else reject(error);
      });
      signal.addEventListener('abort', () => {
        aborted.push(reference);
        reject(new Error('cancelled'));
      });
    });
  };
  const ahead = new ImagesAhead({ ensure }, silentLogger, () => 0);
  return { ahead, begun, aborted, end: (name: string, error?: Error) => ends.get(`r/${name}:1`)?.(error) };
}

const settle = () => vi.advanceTimersByTimeAsync(0);

describe('images ahead of need', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it('are pulled one after the other, each once', async () => {
    const { ahead, begun, end } = world();
    ahead.want([image('a'), image('b')]);
    await settle();
    expect(begun).toEqual(['r/a:1']);
    end('a');
    await settle();
    expect(begun).toEqual(['r/a:1', 'r/b:1']);
    end('b');
    ahead.want([image('a'), image('b')]);
    await settle();
    expect(begun).toHaveLength(2);
    await ahead.close();
  });

  it('are tried again later where it fails, and keep no other from its turn meanwhile', async () => {
    const { ahead, begun, end } = world();
    ahead.want([image('a'), image('b')]);
    await settle();
    end('a', new Error('the registry is down'));
    await settle();
    expect(begun).toEqual(['r/a:1', 'r/b:1']);
    end('b');
    await vi.advanceTimersByTimeAsync(2_400);
    expect(begun).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(200);
    expect(begun).toEqual(['r/a:1', 'r/b:1', 'r/a:1']);
    await ahead.close();
  });

  it('are not pulled any further when they are not wanted any more, and again when they are', async () => {
    const { ahead, begun, aborted } = world();
    ahead.want([image('a'), image('b')]);
    await settle();
    ahead.want([image('b')]);
    await settle();
    expect(aborted).toEqual(['r/a:1']);
    expect(begun).toEqual(['r/a:1', 'r/b:1']);
    ahead.want([image('b'), image('a')]);
    await ahead.close();
    expect(aborted).toEqual(['r/a:1', 'r/b:1']);
    expect(begun).toEqual(['r/a:1', 'r/b:1']);
  });
});
