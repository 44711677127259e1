import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { JointWork } from '../../../agent/images/joint-work.ts';

const never = new AbortController().signal;

/** Work that ends when told, and says when it was aborted and cleaned up. */
function controlled(): {
  start: (control: { signal: AbortSignal }) => Promise<string>;
  finish: (value: string) => void;
  starts: number;
  cleaned: boolean;
} {
  let settle: (value: string) => void = () => undefined;
  const state = {
    starts: 0,
    cleaned: false,
    finish: (value: string) => {
      settle(value);
    },
    start: async ({ signal }: { signal: AbortSignal }): Promise<string> => {
      state.starts += 1;
      const ended = new Promise<string>((resolve, reject) => {
        settle = resolve;
        signal.addEventListener('abort', () => {
          reject(new Error('aborted'));
        });
      });
      try {
        return await ended;
      } catch (error) {
        await sleep(20);
        state.cleaned = true;
        throw error;
      }
    },
  };
  return state;
}

test('two callers, one work, one result', async () => {
  const shared = new JointWork<string, number>();
  const work = controlled();
  const both = [shared.join('k', { signal: never }, work.start), shared.join('k', { signal: never }, work.start)];
  await sleep(1);
  work.finish('done');
  expect(await Promise.all(both)).toEqual(['done', 'done']);
  expect(work.starts).toBe(1);
});

test('the work goes on while somebody waits; the last one to go ends it and waits until it is cleaned up', async () => {
  const shared = new JointWork<string, number>();
  const work = controlled();
  const [a, b] = [new AbortController(), new AbortController()];
  const first = shared.join('k', { signal: a.signal }, work.start);
  const second = shared.join('k', { signal: b.signal }, work.start);
  await sleep(1);
  a.abort();
  await expect(first).rejects.toMatchObject({ code: 'cancelled' });
  expect(work.cleaned).toBe(false);
  b.abort();
  await expect(second).rejects.toMatchObject({ code: 'cancelled' });
  expect(work.cleaned).toBe(true);
});

test('who comes while it is given up gets new work, after the old one has cleaned up', async () => {
  const shared = new JointWork<string, number>();
  const work = controlled();
  const abort = new AbortController();
  const first = shared.join('k', { signal: abort.signal }, work.start);
  await sleep(1);
  abort.abort();
  await sleep(1);
  const next = shared.join('k', { signal: never }, (control) => {
    expect(work.cleaned).toBe(true);
    return work.start(control);
  });
  await expect(first).rejects.toMatchObject({ code: 'cancelled' });
  await sleep(5);
  work.finish('again');
  expect(await next).toBe('again');
  expect(work.starts).toBe(2);
});

test('failures reach all, and are not kept', async () => {
  const shared = new JointWork<string, number>();
  const fail = (): Promise<string> => Promise.reject(new Error('no'));
  await expect(shared.join('k', { signal: never }, fail)).rejects.toThrow('no');
  expect(await shared.join('k', { signal: never }, () => Promise.resolve('yes'))).toBe('yes');
});

test('who joins late hears the latest progress; close aborts all', async () => {
  const shared = new JointWork<string, number>();
  const heard: number[] = [];
  const start = ({ signal, report }: { signal: AbortSignal; report: (n: number) => void }): Promise<string> => {
    report(1);
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        reject(new Error('closed'));
      });
    });
  };
  const first = shared.join('k', { signal: never }, start);
  await sleep(1);
  const second = shared.join('k', { signal: never, onProgress: (n) => heard.push(n) }, start);
  await sleep(1);
  await Promise.all([
    shared.close(),
    expect(first).rejects.toThrow('closed'),
    expect(second).rejects.toThrow('closed'),
  ]);
  expect(heard).toEqual([1]);
});
