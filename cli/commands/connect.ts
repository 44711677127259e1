import { FrotaError } from '../../proto/base/errors.ts';
import { connect, createClient } from '../../proto/rpc/client.ts';
import { controlService } from '../../proto/rpc/service.ts';
import type { ClusterContext } from '../contexts/contexts-file.ts';
import type { Control } from './control.ts';

/** A controller answers these from memory or after one write. */
const callDeadlineMs = 20_000;
/** Before it answers, the controller asks registries for the digests of all tags. */
const applyDeadlineMs = 120_000;

/** The gRPC adapter of `Control`. It connects at the first call. @throws FrotaError `invalid` for a damaged context */
export function connectControl({ addresses, ca, certificate, key }: ClusterContext): Control {
  // The control port is the first; the others serve something else.
  const connection = connect({ addresses: addresses.slice(0, 1), tls: { ca, certificate, key } });
  const client = createClient(controlService, connection);
  const within = (signal: AbortSignal, deadlineMs = callDeadlineMs): { deadlineMs: number; signal: AbortSignal } => ({
    deadlineMs,
    signal,
  });
  return {
    apply: (spec, signal) => answered(client.apply({ spec }, within(signal, applyDeadlineMs))),
    scale: async (scales, signal) => (await answered(client.scale({ scales }, within(signal)))).services,
    removeStack: async (stack, signal) => (await answered(client.removeStack({ stack }, within(signal)))).services,
    listServices: async (stack, signal) => {
      const request = stack === undefined ? {} : { stack };
      return (await answered(client.listServices(request, within(signal)))).services;
    },
    listTasks: async (filter, signal) => (await answered(client.listTasks(filter, within(signal)))).tasks,
    listNodes: async (signal) => (await answered(client.listNodes({}, within(signal)))).nodes,
    watchStack: (stack, signal) => client.watchStack({ stack }, { signal }),
    createJoinToken: (ttlSeconds, signal) => answered(client.createJoinToken({ ttlSeconds }, within(signal))),
    version: (signal) => answered(client.getVersion({}, within(signal))),
    close: () => {
      connection.close();
    },
  };
}

/** No answer in time is a controller that can't be reached; `deadline` is kept for `--timeout`. */
async function answered<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    const error = FrotaError.from(thrown);
    if (error.code === 'deadline') throw new FrotaError('unavailable', error.message, { cause: error });
    throw error;
  }
}
