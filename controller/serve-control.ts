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
  /** A call for which it is enough that its caller is an administrator. */
  const forAdmin =
    <Request, Reply>(act: (request: Request) => Reply | Promise<Reply>) =>
    async (request: Request, context: CallContext): Promise<Reply> => {
      caller(context);
      return await act(request);
    };
  server.add(controlService, {
    apply: async (request, context) => control.apply(request, caller(context)),
    scale: async (request, context) => control.scale(request, caller(context)),
    removeStack: forAdmin(control.removeStack),
    listServices: forAdmin(control.listServices),
    listTasks: forAdmin(control.listTasks),
    listNodes: forAdmin(control.listNodes),
    updateNode: forAdmin(control.updateNode),
    watchStack: (request, context) => control.watchStack(request, caller(context)),
    rolloutStatus: forAdmin(control.rolloutStatus),
    rolloutHistory: forAdmin(control.rolloutHistory),
    rolloutUndo: async (request, context) => control.rolloutUndo(request, caller(context)),
    rolloutRestart: async (request, context) => control.rolloutRestart(request, caller(context)),
    registryLogin: async (request, context) => control.registryLogin(request, caller(context)),
    registryLogout: forAdmin(control.registryLogout),
    listRegistries: forAdmin(control.listRegistries),
    createJoinToken: forAdmin(control.createJoinToken),
    listEvents: (request, context) => control.listEvents(request, caller(context)),
    inspect: forAdmin(control.inspect),
    runDrill: (request, context) => control.runDrill(request, caller(context)),
    followDrill: (request, context) => control.followDrill(request, caller(context)),
    listDrills: forAdmin(control.listDrills),
    stopDrill: async (request, context) => control.stopDrill(request, caller(context)),
    logs: (request, context) => {
      caller(context);
      return readLogs(streams, request, context.signal);
    },
    exec: (incoming, context) => {
      caller(context);
      return runExec(streams, incoming, context.signal);
    },
    getVersion: forAdmin(control.getVersion),
  });
}
