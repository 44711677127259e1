/** Work that several callers want at once is done once. It stops when the last of them has gone, or all of it is closed. */
import { FrotaError } from '../../proto/base/errors.ts';

export interface WorkControl<P> {
  readonly signal: AbortSignal;
  /** Tells everyone who waits. */
  readonly report: (progress: P) => void;
}

interface Work<T, P> {
  readonly result: Promise<T>;
  readonly abort: AbortController;
  readonly listeners: Set<(progress: P) => void>;
  waiters: number;
  latest: P | undefined;
}

export class JointWork<T, P> {
  private readonly running = new Map<string, Work<T, P>>();

  /**
   * Joins the work under `key`, or starts it. A caller whose signal aborts gets `cancelled` at once; if it was the
   * last one, the work is aborted, and the caller waits until it has cleaned up.
   */
  async join(
    key: string,
    options: { readonly signal: AbortSignal; readonly onProgress?: ((progress: P) => void) | undefined },
    start: (control: WorkControl<P>) => Promise<T>,
  ): Promise<T> {
    const { signal, onProgress } = options;
    if (signal.aborted) throw cancelled();
    // Work that was given up is not joined; it must be gone before the same is begun anew.
    for (let found = this.running.get(key); found?.abort.signal.aborted === true; found = this.running.get(key)) {
      await found.result.catch(() => undefined);
    }
    const work = this.running.get(key) ?? this.begin(key, start);
    work.waiters += 1;
    if (onProgress !== undefined) {
      work.listeners.add(onProgress);
      if (work.latest !== undefined) onProgress(work.latest);
    }
    let onAbort: (() => void) | undefined;
    try {
      return await Promise.race([
        work.result,
        new Promise<never>((_resolve, reject) => {
          onAbort = () => {
            reject(cancelled());
          };
          if (signal.aborted) onAbort();
          signal.addEventListener('abort', onAbort, { once: true });
        }),
      ]);
    } finally {
      if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
      if (onProgress !== undefined) work.listeners.delete(onProgress);
      work.waiters -= 1;
      if (work.waiters === 0) {
        work.abort.abort();
        await work.result.catch(() => undefined);
      }
    }
  }

  /** Aborts everything and waits for its end. */
  async close(): Promise<void> {
    const all = [...this.running.values()];
    for (const work of all) work.abort.abort();
    await Promise.allSettled(all.map((work) => work.result));
  }

  private begin(key: string, start: (control: WorkControl<P>) => Promise<T>): Work<T, P> {
    const abort = new AbortController();
    const listeners = new Set<(progress: P) => void>();
    const report = (progress: P): void => {
      work.latest = progress;
      for (const listener of listeners) listener(progress);
    };
    const result = Promise.resolve()
      .then(() => start({ signal: abort.signal, report }))
      .finally(() => {
        this.running.delete(key);
      });
    const work: Work<T, P> = { result, abort, listeners, waiters: 0, latest: undefined };
    this.running.set(key, work);
    return work;
  }
}

const cancelled = (): FrotaError =>
  new FrotaError('cancelled', 'the pull was cancelled: nobody waits for the image any more');
