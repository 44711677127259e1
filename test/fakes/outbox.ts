/** A bounded queue between those who have something to send and the stream that sends it as fast as the peer reads. */
import { FrotaError } from '../../proto/base/errors.ts';

export interface Outbox<T extends object> extends AsyncIterable<T> {
  /** @throws FrotaError `exhausted` when `limit` items wait already: the peer does not read; end its stream. */
  push(item: T): void;
  /** Items that wait. */
  size(): number;
  /** Iteration ends after what has been pushed. */
  close(): void;
  /** Iteration throws at once; what waits is dropped. */
  fail(error: FrotaError): void;
}

/** One consumer. Iteration also ends, at once, when `signal` aborts. */
export function createOutbox<T extends object>(limit: number, signal: AbortSignal): Outbox<T> {
  let waiting: T[] = [];
  let end: 'open' | 'closed' | FrotaError = 'open';
  let wake: () => void = () => undefined;

  async function* drain(): AsyncGenerator<T> {
    const onAbort = (): void => {
      wake();
    };
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        if (end instanceof FrotaError) throw end;
        const next = waiting.shift();
        if (next !== undefined) {
          yield next;
          continue;
        }
        if (end === 'closed') return;
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (end !== 'open' || signal.aborted) resolve();
        });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  return {
    push: (item) => {
      if (end !== 'open') return;
      if (waiting.length >= limit) {
        throw new FrotaError('exhausted', `${String(limit)} messages wait for a peer that does not read them`);
      }
      waiting.push(item);
      wake();
    },
    size: () => waiting.length,
    close: () => {
      if (end === 'open') end = 'closed';
      wake();
    },
    fail: (error) => {
      end = error;
      waiting = [];
      wake();
    },
    [Symbol.asyncIterator]: drain,
  };
}
