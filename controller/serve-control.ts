/** The Control service on its server: who may call, then the use-case. Part of the composition root. */
import type { CallContext } from '../proto/rpc/context.ts';
import type { RpcServer } from '../proto/rpc/server.ts';
import { controlService } from '../proto/rpc/service.ts';
import type { Caller, Control } from './api/control.ts';
import { requireRole } from './security/roles.ts';
import { runExec } from './streams/exec.ts';
import type { ExecPorts } from './streams/exec.ts';
import { readLogs } from './streams/logs.ts';
import type { LogPorts } from './streams/logs.ts';

/** Logs and exec: what `controller/streams` gives. */
export type StreamPorts = LogPorts & ExecPorts;

export function addControl(server: RpcServer, control: Control, streams: StreamPorts): void {
  const caller = (context: CallContext): Caller => ({
    name: requireRole(context.peer, 'admin').commonName,
    signal: context.signal,
  });
  server.add(controlService, {
    apply: async (request, context) => control.apply(request, caller(context)),
    scale: async (request, context) => control.scale(request, caller(context)),
    removeStack: async (request, context) => {
      caller(context);
      return control.removeStack(request);
    },
    listServices: async (request, context) => {
      caller(context);
      return Promise.resolve(control.listServices(request));
    },
    listTasks: async (request, context) => {
      caller(context);
      return Promise.resolve(control.listTasks(request));
    },
    listNodes: async (_request, context) => {
      caller(context);
      return Promise.resolve(control.listNodes());
    },
    updateNode: async (request, context) => {
      caller(context);
      return control.updateNode(request);
    },
    watchStack: (request, context) => control.watchStack(request, caller(context)),
    rolloutStatus: async (request, context) => {
      caller(context);
      return Promise.resolve(control.rolloutStatus(request));
    },
    rolloutHistory: async (request, context) => {
      caller(context);
      return control.rolloutHistory(request);
    },
    rolloutUndo: async (request, context) => control.rolloutUndo(request, caller(context)),
    rolloutRestart: async (request, context) => control.rolloutRestart(request, caller(context)),
    createJoinToken: async (request, context) => {
      caller(context);
      return control.createJoinToken(request);
    },
    listEvents: (request, context) => control.listEvents(request, caller(context)),
    inspect: async (request, context) => {
      caller(context);
      return Promise.resolve(control.inspect(request));
    },
    logs: (request, context) => {
      caller(context);
      return readLogs(streams, request, context.signal);
    },
    exec: (incoming, context) => {
      caller(context);
      return runExec(streams, incoming, context.signal);
    },
    getVersion: async (_request, context) => {
      caller(context);
      return Promise.resolve(control.getVersion());
    },
  });
}
