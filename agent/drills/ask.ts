/** One request of the probe: a connection of its own, and an answer within the time, or the reason why there is none. */
import { request } from 'node:http';
import { connect } from 'node:net';
import { probeTimeoutMs } from '../../proto/domain/drill.ts';
import type { ProbeKind } from '../../proto/domain/drill.ts';
import type { Ending } from './probe-tally.ts';

export interface Asked {
  readonly kind: ProbeKind;
  readonly path: string;
  readonly host: string;
  readonly port: number;
}

/** From here on an answer says that the server has failed. */
const serverErrorStatus = 500;

/** Never rejects. `withinMs`: at most the time after which every request has failed. */
export function ask(asked: Asked, withinMs = probeTimeoutMs): Promise<Ending> {
  const beganAtMs = performance.now();
  return new Promise((resolve) => {
    const end = (reason?: string): void => {
      clearTimeout(timer);
      stop();
      const tookMs = performance.now() - beganAtMs;
      resolve(reason === undefined ? { kind: 'answered', tookMs } : { kind: 'failed', reason });
    };
    const timer = setTimeout(() => {
      end(`no answer within ${String(withinMs)} ms`);
    }, withinMs);
    const stop = asked.kind === 'http' ? get(asked, end) : open(asked, end);
  });
}

type End = (reason?: string) => void;

/** Returns what ends it at once. */
function get({ host, port, path }: Asked, end: End): () => void {
  const asking = request({ host, port, path, agent: false, headers: { connection: 'close' } }, (answer) => {
    answer.on('error', (error) => {
      end(reasonOf(error));
    });
    answer.on('end', () => {
      const status = answer.statusCode ?? 0;
      end(status < serverErrorStatus ? undefined : `status ${String(status)}`);
    });
    answer.resume();
  });
  asking.on('error', (error) => {
    end(reasonOf(error));
  });
  asking.end();
  return () => {
    asking.destroy();
  };
}

function open({ host, port }: Asked, end: End): () => void {
  const socket = connect({ host, port });
  socket.on('error', (error) => {
    end(reasonOf(error));
  });
  socket.on('connect', () => {
    end();
  });
  return () => {
    socket.destroy();
  };
}

const reasonOf = (error: NodeJS.ErrnoException): string => error.code ?? error.message;
