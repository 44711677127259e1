import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClusterContext } from '../../../cli/contexts/contexts-file.ts';
import { loadOrCreateAuthority } from '../../../controller/security/authority.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { createServer } from '../../../proto/rpc/server.ts';
import type { Handlers } from '../../../proto/rpc/server.ts';
import { controlService } from '../../../proto/rpc/service.ts';
import type { ExecInput } from '../../../proto/domain/exec.ts';
import type { FakeControl } from './fake-control.ts';

export interface RealServer {
  readonly context: ClusterContext;
  close(): Promise<void>;
}

/** A gRPC server with mutual TLS in front of a fake controller: the wire is real, the answers are the test's. */
export async function serveControl(control: FakeControl): Promise<RealServer> {
  const folder = mkdtempSync(join(tmpdir(), 'ft-cli-ca-'));
  const authority = await loadOrCreateAuthority(folder, Date.now());
  const identity = await authority.issueServer([], Date.now());
  const person = await authority.issuePerson('ana', 'admin', Date.now());
  const tls = { ...identity, ca: authority.certificate, requireClientCertificate: true };
  const server = createServer({ tls, logger: silentLogger });
  const handlers: Handlers<typeof controlService> = {
    apply: ({ spec, contents }) => control.apply(spec, contents),
    scale: async ({ scales }) => ({ services: await control.scale(scales) }),
    removeStack: async ({ stack }) => ({ services: await control.removeStack(stack) }),
    listServices: async ({ stack }) => ({ services: await control.listServices(stack) }),
    listTasks: async (filter) => ({ tasks: await control.listTasks(filter) }),
    listNodes: async () => ({ nodes: await control.listNodes() }),
    updateNode: async (request) => ({ node: await control.updateNode(request) }),
    watchStack: ({ stack }, { signal }) => control.watchStack(stack, signal),
    rolloutStatus: async ({ target }) => ({ services: await control.rolloutStatus(target) }),
    rolloutHistory: async ({ stack, version }) => ({ revisions: await control.rolloutHistory(stack, version) }),
    rolloutUndo: ({ stack, version }) => control.rolloutUndo(stack, version),
    rolloutRestart: async ({ targets }) => ({ stacks: await control.rolloutRestart(targets) }),
    registryLogin: async (request) => ({ host: await control.registryLogin(request) }),
    registryLogout: async ({ host }) => ({ host: await control.registryLogout(host) }),
    listRegistries: async () => ({ registries: await control.listRegistries() }),
    createJoinToken: ({ ttlSeconds }) => control.createJoinToken(ttlSeconds),
    listEvents: async function* (request) {
      for await (const event of control.listEvents(request)) yield { events: [event] };
    },
    inspect: async ({ name }) => ({ found: await control.inspect(name) }),
    logs: (query) => control.logs(query),
    exec: async function* (incoming) {
      for await (const message of incoming) {
        if (message.kind === 'start') yield* control.exec(message.start, noInput());
        return;
      }
    },
    runDrill: (request, { signal }) => control.runDrill(request, signal),
    followDrill: ({ id }) => control.followDrill(id),
    listDrills: async ({ id }) => ({ drills: await control.listDrills(id) }),
    stopDrill: async ({ id }) => ({ drill: await control.stopDrill(id) }),
    getVersion: () => control.version(),
  };
  server.add(controlService, handlers);
  const { port } = await server.listen('127.0.0.1:0');
  const { certificate, key } = person;
  return {
    context: { addresses: [`127.0.0.1:${String(port)}`, '127.0.0.1:1'], ca: authority.certificate, certificate, key },
    close: async () => {
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function* noInput(): AsyncGenerator<ExecInput> {
  yield* [];
}
