import { FrotaError } from '../../proto/base/errors.ts';
import { connect, createClient } from '../../proto/rpc/client.ts';
import type { Client } from '../../proto/rpc/client.ts';
import { controlService } from '../../proto/rpc/service.ts';
import type { ListEventsReply, ListEventsRequest } from '../../proto/codec/events.ts';
import type { LogsReply } from '../../proto/codec/streams.ts';
import type { ClusterContext } from '../contexts/contexts-file.ts';
import { drillCalls } from './connect-drills.ts';
import type { Control } from './control.ts';
import { followed } from './followed.ts';
import { ToldLogs } from './told-logs.ts';

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
  let ready: Promise<boolean> | undefined;
  const connected = (): Promise<boolean> => (ready ??= connection.ready(restartGraceMs));
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
    inspect: async (name, signal) => (await ask((options) => client.inspect({ name }, { ...options, signal }))).found,
    ...rolloutCalls(client, ask),
    ...registryCalls(client, ask),
    ...followedCalls(client, connected, () => connection.ready(readyWithinMs)),
    exec: execCall(client, connected),
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

/** Before a broken stream is opened again; the pause between two attempts comes on top. */
const readyWithinMs = 2_000;

function followedCalls(
  client: ControlClient,
  connected: () => Promise<unknown>,
  ready: () => Promise<boolean>,
): Pick<Control, 'listEvents' | 'logs'> {
  const silent = (): void => undefined;
  return {
    listEvents: async function* (request, signal, note = silent) {
      await connected();
      let from = request;
      const open = (): AsyncIterable<ListEventsReply> => client.listEvents(from, { signal });
      for await (const { events, through } of request.follow ? followed(open, { ready, signal, note }) : open()) {
        for (const event of events) {
          from = eventsAfter(request, event.sequence);
          yield event;
        }
        if (through !== undefined) from = eventsAfter(request, through);
      }
    },
    logs: async function* (query, signal, note = silent) {
      await connected();
      if (!query.follow) {
        yield* client.logs(query, { signal });
        return;
      }
      const told = new ToldLogs(query, () => Date.now());
      const open = (): AsyncIterable<LogsReply> => client.logs(told.next(), { signal });
      for await (const reply of followed(open, { ready, signal, note })) yield told.pass(reply);
    },
  };
}

/** How many there are at the most was asked of the past alone. */
function eventsAfter({ last: _last, ...request }: ListEventsRequest, afterSequence: number): ListEventsRequest {
  return { ...request, afterSequence };
}

const execCall = (client: ControlClient, connected: () => Promise<unknown>): Control['exec'] =>
  async function* (start, inputs, signal) {
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
  };

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
