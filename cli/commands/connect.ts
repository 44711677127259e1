import { setTimeout as sleep } from 'node:timers/promises';
import { FrotaError } from '../../proto/base/errors.ts';
import { connect, createClient } from '../../proto/rpc/client.ts';
import type { Client } from '../../proto/rpc/client.ts';
import { controlService } from '../../proto/rpc/service.ts';
import type { ListEventsReply, ListEventsRequest } from '../../proto/codec/events.ts';
import type { ClusterEvent } from '../../proto/domain/event.ts';
import type { ClusterContext } from '../contexts/contexts-file.ts';
import { drillCalls } from './connect-drills.ts';
import type { Control } from './control.ts';

/** A controller answers these from memory or after one write. */
const callDeadlineMs = 20_000;
/** Before it answers, the controller asks registries for the digests of all tags. */
const applyDeadlineMs = 120_000;

/** A supervisor starts a controller that died within a second; a person who types just then should not see an error. */
const restartGraceMs = 3_000;

/** The gRPC adapter of `Control`. It connects at the first call. @throws FrotaError `invalid` for a damaged context */
export function connectControl({ addresses, ca, certificate, key }: ClusterContext): Control {
  // The control port is the first; the others serve something else.
  const connection = connect({ addresses: addresses.slice(0, 1), tls: { ca, certificate, key } });
  const client = createClient(controlService, connection);
  let ready: Promise<void> | undefined;
  const connected = (): Promise<void> => (ready ??= connection.ready(restartGraceMs));
  const ask = async <T>(
    call: (options: { deadlineMs: number }) => Promise<T>,
    deadlineMs = callDeadlineMs,
  ): Promise<T> => {
    await connected();
    return answered(call({ deadlineMs }));
  };
  return {
    apply: (spec, contents, signal) =>
      ask((options) => client.apply({ spec, contents }, { ...options, signal }), applyDeadlineMs),
    scale: async (scales, signal) =>
      (await ask((options) => client.scale({ scales }, { ...options, signal }))).services,
    removeStack: async (stack, signal) =>
      (await ask((options) => client.removeStack({ stack }, { ...options, signal }))).services,
    listServices: async (stack, signal) => {
      const request = stack === undefined ? {} : { stack };
      return (await ask((options) => client.listServices(request, { ...options, signal }))).services;
    },
    listTasks: async (filter, signal) =>
      (await ask((options) => client.listTasks(filter, { ...options, signal }))).tasks,
    listNodes: async (signal) => (await ask((options) => client.listNodes({}, { ...options, signal }))).nodes,
    updateNode: async (request, signal) =>
      (await ask((options) => client.updateNode(request, { ...options, signal }))).node,
    watchStack: async function* (stack, signal) {
      await connected();
      yield* client.watchStack({ stack }, { signal });
    },
    listEvents: (request, signal) =>
      resumedEvents(request, signal, async function* (from) {
        await connected();
        yield* client.listEvents(from, { signal });
      }),
    inspect: async (name, signal) => (await ask((options) => client.inspect({ name }, { ...options, signal }))).found,
    ...rolloutCalls(client, ask),
    ...registryCalls(client, ask),
    ...streamCalls(client, connected),
    ...drillCalls(client, ask, connected),
    createJoinToken: (ttlSeconds, signal) =>
      ask((options) => client.createJoinToken({ ttlSeconds }, { ...options, signal })),
    version: (signal) => ask((options) => client.getVersion({}, { ...options, signal })),
    close: () => {
      connection.close();
    },
  };
}

type ControlClient = Client<typeof controlService>;
/** Connected first, and bounded. */
type Ask = <T>(call: (options: { deadlineMs: number }) => Promise<T>) => Promise<T>;
type RolloutCalls = 'rolloutStatus' | 'rolloutHistory' | 'rolloutUndo' | 'rolloutRestart';

function rolloutCalls(client: ControlClient, ask: Ask): Pick<Control, RolloutCalls> {
  return {
    rolloutStatus: async (target, signal) => {
      const request = target === undefined ? {} : { target };
      return (await ask((options) => client.rolloutStatus(request, { ...options, signal }))).services;
    },
    rolloutHistory: async (stack, version, signal) => {
      const request = version === undefined ? { stack } : { stack, version };
      return (await ask((options) => client.rolloutHistory(request, { ...options, signal }))).revisions;
    },
    rolloutUndo: (stack, version, signal) => {
      const request = version === undefined ? { stack } : { stack, version };
      return ask((options) => client.rolloutUndo(request, { ...options, signal }));
    },
    rolloutRestart: async (targets, signal) =>
      (await ask((options) => client.rolloutRestart({ targets }, { ...options, signal }))).stacks,
  };
}

function registryCalls(
  client: ControlClient,
  ask: Ask,
): Pick<Control, 'registryLogin' | 'registryLogout' | 'listRegistries'> {
  return {
    registryLogin: async (request, signal) =>
      (await ask((options) => client.registryLogin(request, { ...options, signal }))).host,
    registryLogout: async (registry, signal) =>
      (await ask((options) => client.registryLogout({ host: registry }, { ...options, signal }))).host,
    listRegistries: async (signal) =>
      (await ask((options) => client.listRegistries({}, { ...options, signal }))).registries,
  };
}

function streamCalls(client: ControlClient, connected: () => Promise<void>): Pick<Control, 'exec' | 'logs'> {
  return {
    logs: async function* (query, signal) {
      await connected();
      yield* client.logs(query, { signal });
    },
    exec: async function* (start, inputs, signal) {
      await connected();
      const call = client.exec({ signal });
      const send = async (): Promise<void> => {
        await call.write({ kind: 'start', start });
        for await (const input of inputs) await call.write({ kind: 'input', input });
      };
      // What can't be sent any more is told by what is read.
      void send().catch(() => undefined);
      try {
        yield* call;
      } finally {
        call.close();
      }
    },
  };
}

/** A controller that restarts is asked again from the last event on; one that is gone for good is an error. */
async function* resumedEvents(
  request: ListEventsRequest,
  signal: AbortSignal,
  ask: (request: ListEventsRequest) => AsyncIterable<ListEventsReply>,
): AsyncIterable<ClusterEvent> {
  let from = request;
  for (let failures = 0; ; failures += 1) {
    try {
      for await (const { events } of ask(from)) {
        failures = 0;
        for (const event of events) {
          from = { ...request, afterSequence: event.sequence };
          yield event;
        }
      }
      return;
    } catch (thrown) {
      const error = FrotaError.from(thrown);
      if (!request.follow || signal.aborted || error.code !== 'unavailable' || failures >= maxResumes) throw error;
      await sleep(resumePauseMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** In a row: together a minute, longer than any restart takes. */
const maxResumes = 60;
const resumePauseMs = 1_000;

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
