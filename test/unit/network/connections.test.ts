import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { answers } from '../../../agent/network/connections.ts';

describe('whether an address answers', () => {
  it('is asked as often as one likes on one signal, which keeps nothing of it', async () => {
    const { signal } = new AbortController();
    for (let round = 0; round < 3; round += 1) {
      const heard = await Promise.all(Array.from({ length: 4 }, () => answers('127.0.0.1', signal)));
      expect(heard).toEqual([true, true, true, true]);
    }
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('is given up at once when the signal aborts', async () => {
    const abort = new AbortController();
    const startedAt = performance.now();
    // A documentation address (RFC 5737): nobody answers, or the host says at once that there is no way.
    const asked = answers('192.0.2.1', abort.signal);
    abort.abort();
    expect(await asked).toBe(false);
    expect(performance.now() - startedAt).toBeLessThan(250);
    await expect(answers('127.0.0.1', abort.signal)).rejects.toMatchObject({ code: 'cancelled' });
  });
});
