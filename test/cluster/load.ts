/** An open-loop HTTP client: requests leave at a stated rate whether or not answers come, and every one that fails says why. */
import { Agent, request } from 'node:http';
import type { LookupFunction } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface LoadOptions {
  /** Asked in turn. */
  readonly urls: readonly string[];
  readonly perSecond: number;
  /** `new`: every request opens its own; `keep-alive`: connections are used again, as long as the server lets them. */
  readonly connections: 'new' | 'keep-alive';
  /** A request without an answer for so long has failed, ms; default 10,000. */
  readonly answerWithinMs?: number;
  /** Asked for the address of a name before each new connection; default: whom this machine asks. */
  readonly addressOf?: (name: string) => Promise<string>;
}

export interface LoadReport {
  readonly sent: number;
  readonly answered: number;
  /** Reason → how many times; with the address that was asked, and the milliseconds since the load began of the first. */
  readonly failures: Readonly<Record<string, number>>;
  /** What the answers said of who they are from (`host`), and how many came from each. */
  readonly hosts: ReadonlyMap<string, number>;
  readonly latencyMs: { readonly median: number; readonly p99: number; readonly max: number };
  /** By who answered: when the first answer came, `performance.now()`. */
  readonly firstAnswerAtMs: ReadonlyMap<string, number>;
  /** When each request that failed was given up, in that order; `performance.now()`. */
  readonly failedAtMs: readonly number[];
  /** Connections that were opened. */
  readonly opened: number;
}

export interface Load {
  /** Sends no more, waits for the answers that are due, and reports. */
  stop(): Promise<LoadReport>;
  /** Sends no more and closes every connection. */
  end(): void;
}

/** The default: a server that needs longer has lost the request. Long, because the machine may be busy and a lost one never comes. */
const defaultAnswerWithinMs = 10_000;
/**
 * Idle connections kept for each address, used in turn, so that each is used several times a second. One that nobody uses
 * for longer than its server waits for is closed by it, and a request that is on its way just then is lost whoever serves it.
 */
const keptPerAddress = 4;

/** Begins at once; the caller stops it, whatever happens. */
export function startLoad(options: LoadOptions): Load {
  const { urls, perSecond, connections, answerWithinMs = defaultAnswerWithinMs, addressOf } = options;
  const keepAlive = connections === 'keep-alive';
  const lookup = addressOf === undefined ? {} : { lookup: lookupBy(addressOf) };
  const agent = new Agent({ keepAlive, maxFreeSockets: keptPerAddress, scheduling: 'fifo', ...lookup });
  const tally = { sent: 0, answered: 0, opened: 0 };
  const failures: Record<string, number> = {};
  const hosts = new Map<string, number>();
  const firstAnswerAtMs = new Map<string, number>();
  const failedAtMs: number[] = [];
  const latencies: number[] = [];
  const due = new Set<Promise<void>>();
  const abort = new AbortController();
  const beganAtMs = performance.now();

  async function one(url: string): Promise<void> {
    const sentAtMs = performance.now();
    try {
      const { body, isNew } = await ask(url, agent, answerWithinMs);
      tally.answered += 1;
      if (isNew) tally.opened += 1;
      latencies.push(performance.now() - sentAtMs);
      const host = hostOf(body);
      if (!firstAnswerAtMs.has(host)) firstAnswerAtMs.set(host, performance.now());
      hosts.set(host, (hosts.get(host) ?? 0) + 1);
    } catch (error) {
      const reason = `${(error as NodeJS.ErrnoException).code ?? ''} ${(error as Error).message} (${url})`.trim();
      failures[reason] = (failures[reason] ?? 0) + 1;
      failedAtMs.push(performance.now());
    }
  }

  const loop = (async () => {
    while (!abort.signal.aborted) {
      // What a stall of this process held up is sent now: the rate is the clock's, not the timer's.
      const dueCount = Math.floor(((performance.now() - beganAtMs) * perSecond) / 1_000);
      while (tally.sent < dueCount) {
        const sending = one(urls[tally.sent % urls.length] ?? '');
        tally.sent += 1;
        due.add(sending);
        void sending.finally(() => due.delete(sending));
      }
      await sleep(1_000 / perSecond / 2);
    }
  })();

  const end = (): void => {
    abort.abort();
    agent.destroy();
  };
  return {
    end,
    stop: async () => {
      abort.abort();
      await loop;
      await Promise.all(due);
      end();
      latencies.sort((a, b) => a - b);
      const at = (share: number): number =>
        latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
      return {
        ...tally,
        failures,
        hosts,
        firstAnswerAtMs,
        failedAtMs,
        latencyMs: { median: at(0.5), p99: at(0.99), max: at(1) },
      };
    },
  };
}

function ask(url: string, agent: Agent, answerWithinMs: number): Promise<{ body: string; isNew: boolean }> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent, timeout: answerWithinMs }, (answer) => {
      let body = '';
      answer.setEncoding('utf8');
      answer.on('data', (text: string) => (body += text));
      answer.on('error', reject);
      answer.on('end', () => {
        if (answer.statusCode === 200 && answer.complete) resolve({ body, isNew: !asked.reusedSocket });
        else reject(new Error(`status ${String(answer.statusCode)}: ${body.trim()}`));
      });
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${String(answerWithinMs / 1_000)} s`)));
    asked.on('error', (error: NodeJS.ErrnoException) => {
      // Where in its life: a refused connection is another fault than one that was cut.
      reject(
        Object.assign(error, { message: `${error.message}${asked.reusedSocket ? ', on a used connection' : ''}` }),
      );
    });
    asked.end();
  });
}

/** In the form that Node's sockets ask in. */
function lookupBy(addressOf: (name: string) => Promise<string>): LookupFunction {
  return (name, { all }, done) => {
    addressOf(name).then(
      (address) => {
        if (all === true) done(null, [{ address, family: 4 }]);
        else done(null, address, 4);
      },
      (error: unknown) => done(error as NodeJS.ErrnoException, '', 4),
    );
  };
}

/** The machine's clock, the same in all of its processes; `performance.now()` begins anew in each. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

function hostOf(body: string): string {
  try {
    return (JSON.parse(body) as { readonly host?: string }).host ?? 'unknown';
  } catch {
    // The small server of the tests says nothing but its host name.
    return body.trim() || 'unknown';
  }
}
