/** The parts of the agent, joined: part of the composition root, apart from the command line so that both stay small. */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, FrotaError } from '../proto/base/errors.ts';
import { monoMs, wallMs } from '../proto/base/clock.ts';
import type { Clock } from '../proto/base/clock.ts';
import type { Logger } from '../proto/base/log.ts';
import type { Welcome } from '../proto/codec/dispatch.ts';
import { connect, createClient, parseAddress } from '../proto/rpc/client.ts';
import { dispatchService } from '../proto/rpc/service.ts';
import { frotaVersion } from '../proto/base/version.ts';
import { NodeTasks } from './execute/node-tasks.ts';
import { createTaskFiles } from './execute/task-files.ts';
import { detectCgroupLayout } from './host/cgroups.ts';
import { readHostFacts } from './host/facts.ts';
import { createImages } from './images/create-images.ts';
import { createHeartbeats } from './liveness/heartbeats.ts';
import type { Heartbeats } from './liveness/heartbeats.ts';
import { renderHosts, writeInPlace } from './network/hosts-file.ts';
import { createNodeNetwork } from './network/node-network.ts';
import { resolvConfOfNode } from './network/resolv-conf.ts';
import type { AgentOptions } from './options.ts';
import { createOciRuntime } from './runtime/oci/oci-runtime.ts';
import { loadAssignments } from './session/assignments.ts';
import type { Assignments, NodeSelf } from './session/assignments.ts';
import { joinCluster, loadCredentials, renewalDue, renewCredentials } from './session/credentials.ts';
import type { Credentials } from './session/credentials.ts';
import { startSession } from './session/session.ts';
import type { Session } from './session/session.ts';
import { createJournal } from './state/journal.ts';
import type { Journal } from './state/journal.ts';

/** Certificates live for a day; looking this often renews them close to half of it. */
const renewalCheckMs = 10 * 60 * 1000;
/** A rule or route that somebody took away is put back within this time. */
const repairIntervalMs = 30_000;

const clock: Clock = { now: () => ({ monoMs: monoMs(performance.now()), wallMs: wallMs(Date.now()) }) };

export async function runAgent(options: AgentOptions, logger: Logger, signal: AbortSignal): Promise<void> {
  const credentials = await becomeNode(options, logger, signal);
  const address = options.address ?? (await addressTowards(credentials.controlAddresses[0] ?? ''));
  const journal = createJournal(join(options.data, 'journal'), logger);
  const assignments = await loadAssignments(journal);
  const heartbeats = await createHeartbeats({
    workerUrl: new URL('./liveness/worker.js', import.meta.url),
    address,
    port: options.livenessPort,
    logger,
  });
  try {
    await serveNode({ options, logger, signal, credentials, address, journal, assignments, heartbeats });
  } finally {
    await heartbeats.close();
  }
}

interface Parts {
  readonly options: AgentOptions;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly credentials: Credentials;
  readonly address: string;
  readonly journal: Journal;
  readonly assignments: Assignments;
  readonly heartbeats: Heartbeats;
}

async function becomeNode(options: AgentOptions, logger: Logger, signal: AbortSignal): Promise<Credentials> {
  const nowMs = clock.now().wallMs;
  const known = await loadCredentials(options.data);
  const token = options.token ?? process.env['FROTA_TOKEN'];
  if (token === undefined || options.join === undefined) {
    if (known !== undefined) return known;
    throw new FrotaError(
      'invalid',
      'this machine has not joined a cluster yet: give --join and --token as printed by `frota cluster token`',
    );
  }
  return joinCluster({
    address: options.join,
    token,
    nodeName: options.name,
    dataDir: options.data,
    nowMs,
    signal,
    logger,
  });
}

/** The address of this machine from which packets to the controller leave; nothing is sent. */
async function addressTowards(controlAddress: string): Promise<string> {
  const { host, port } = parseAddress(controlAddress);
  const socket = createSocket('udp4');
  try {
    const connected = once(socket, 'connect');
    socket.connect(port, host);
    await connected;
    return socket.address().address;
  } catch (cause) {
    throw new FrotaError('unavailable', `no way to the controller at ${controlAddress}; give --address if this is right`, {
      cause,
    });
  } finally {
    socket.close();
  }
}

/** Everything below needs to know which node this is, which the first welcome of its life says. */
async function serveNode(parts: Parts): Promise<void> {
  const bootId = new Uint8Array(randomBytes(16));
  const link = createLink(parts, bootId);
  try {
    const self = parts.assignments.self() ?? (await link.firstWelcome);
    await runTasks(parts, link, self);
  } finally {
    await link.session.close();
  }
}

/** The session runs from the start; what it brings is handled once the node's parts are there. */
function createLink(parts: Parts, bootId: Uint8Array) {
  const { options, assignments, heartbeats, logger } = parts;
  let credentials = parts.credentials;
  let node: NodeHooks | undefined;
  let synced = false;
  let welcomed: (self: NodeSelf) => void = () => undefined;
  const firstWelcome = new Promise<NodeSelf>((resolve, reject) => {
    welcomed = resolve;
    parts.signal.addEventListener('abort', () => {
      reject(new FrotaError('cancelled', 'the agent was told to stop'));
    });
  });
  firstWelcome.catch(() => undefined);

  const onWelcome = (welcome: Welcome, controller: string): void => {
    heartbeats.setController({
      address: controller,
      port: welcome.livenessPort,
      key: welcome.livenessKey,
      intervalMs: welcome.heartbeatIntervalMs,
      nodeId: welcome.nodeId,
      bootId,
    });
    welcomed(welcome);
  };

  let remote: () => string | undefined = () => undefined;
  const session: Session = startSession({
    open: (signal) => {
      const { ca, certificate, key, controlAddresses } = credentials;
      const connection = connect({ addresses: controlAddresses, tls: { ca, certificate, key } });
      const stream = createClient(dispatchService, connection).session({ signal });
      remote = () => stream.remoteAddress();
      return {
        send: (message) => stream.write(message),
        messages: stream,
        close: () => {
          stream.close();
          connection.close();
        },
      };
    },
    assignments,
    bootId,
    facts: async () => {
      const host = await readHostFacts(frotaVersion, await detectCgroupLayout(), options.cgroupParent);
      return { nodeId: credentials.nodeId, address: parts.address, livenessPort: heartbeats.port, ...host };
    },
    statuses: () => node?.statuses() ?? [],
    onWelcome: (welcome) => {
      onWelcome(welcome, remote() ?? parseAddress(credentials.controlAddresses[0] ?? '').host);
      return Promise.resolve();
    },
    onUnit: async (key) => node?.onUnit(key),
    onSynced: async () => {
      synced = true;
      await node?.onSynced();
    },
    clock,
    random: Math.random,
    logger,
  });

  return {
    session,
    firstWelcome,
    attach: async (hooks: NodeHooks): Promise<void> => {
      node = hooks;
      for (const status of hooks.statuses()) session.report(status);
      await hooks.onUnit('tasks');
      if (synced) await hooks.onSynced();
    },
    /** Renews the certificate; the next connection uses it. */
    renew: async (signal: AbortSignal): Promise<void> => {
      if (!renewalDue(credentials, clock.now().wallMs)) return;
      const { ca, certificate, key, controlAddresses } = credentials;
      const connection = connect({ addresses: controlAddresses, tls: { ca, certificate, key } });
      try {
        const client = createClient(dispatchService, connection);
        credentials = await renewCredentials(client, credentials, options.data, signal);
        logger.info({}, 'the certificate was renewed');
      } finally {
        connection.close();
      }
    },
  };
}

interface NodeHooks {
  readonly statuses: NodeTasks['statuses'];
  readonly onUnit: (key: string) => Promise<void>;
  readonly onSynced: () => Promise<void>;
}

async function runTasks(parts: Parts, link: ReturnType<typeof createLink>, self: NodeSelf): Promise<void> {
  const { options, assignments, journal, logger, signal } = parts;
  const [images, runtime, network] = await Promise.all([
    createImages({ dataDir: options.data, logger, insecureRegistries: options.insecureRegistry }),
    createOciRuntime({
      dataDir: options.data,
      runDir: options.run,
      cgroupParent: options.cgroupParent,
      logger,
      ...(options.runtime === undefined ? {} : { runtime: options.runtime }),
    }),
    createNodeNetwork({
      nodeAddress: parts.address,
      nodeSubnet: self.subnet,
      stateDir: join(options.data, 'network'),
      namePrefix: namePrefix(options),
      logger,
    }),
  ]);
  const files = createTaskFiles({
    folder: join(options.data, 'files'),
    services: () => assignments.services(),
    renderHosts,
    writeInPlace,
    resolvConf: resolvConfOfNode,
  });
  const enforcer = createEnforcer(async () => {
    const unit = assignments.network();
    if (unit === undefined) return false;
    const services = assignments.services();
    await Promise.all([network.apply({ network: unit, services }), files.refresh(services)]);
    return true;
  }, logger);
  const tasks = new NodeTasks({
    images,
    runtime,
    network,
    files,
    journal,
    clock,
    logger,
    networkReady: () => enforcer.ready,
    onStatus: (status) => {
      link.session.report(status);
    },
  });
  await images.sweep();
  enforcer.wake();
  await tasks.adopt(assignments.tasks() ?? []);
  logger.info({ nodeId: self.nodeId, subnet: self.subnet, tasks: tasks.statuses().length }, 'node is up');
  const onUnit = async (key: string): Promise<void> => {
    if (key === 'tasks') await tasks.assign(assignments.tasks() ?? []);
    else enforcer.wake();
  };
  await link.attach({
    statuses: () => tasks.statuses(),
    onUnit,
    onSynced: () => {
      tasks.confirm();
      return Promise.resolve();
    },
  });
  const watching = network.watch(signal);
  const timers = [
    every(repairIntervalMs, signal, logger, 'repair of the network', () => network.repair()),
    every(renewalCheckMs, signal, logger, 'renewal of the certificate', () => link.renew(signal)),
  ];
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  // Heartbeats say "restarting" first, so that the controller gives this node its grace.
  parts.heartbeats.announceRestart();
  await Promise.allSettled([watching, ...timers]);
  await tasks.close();
  await enforcer.close();
  await Promise.allSettled([runtime.close(), images.close(), network.close({ removeAll: false })]);
}

/** Several nodes can share a machine: what they make is told apart by the name of their cgroup, which is the node's own. */
const namePrefix = (options: AgentOptions): string =>
  options.cgroupParent.split('/').filter((part) => part !== '' && part !== 'frota').join('-');

/** Runs `work` after each wake, never twice at once; `ready` resolves after its first success. */
function createEnforcer(work: () => Promise<boolean>, logger: Logger) {
  const retryMs = 500;
  let dirty = false;
  let running: Promise<void> | undefined;
  let closed = false;
  let succeed: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => {
    succeed = resolve;
  });

  async function run(): Promise<void> {
    while (dirty && !closed) {
      dirty = false;
      try {
        if (await work()) succeed();
      } catch (error) {
        logger.error({ error: describeError(error) }, 'the network could not be made what it should be; trying again');
        dirty = true;
        await sleep(retryMs);
      }
    }
    running = undefined;
  }

  return {
    ready,
    wake: (): void => {
      dirty = true;
      running ??= run();
    },
    close: async (): Promise<void> => {
      closed = true;
      succeed();
      await running;
    },
  };
}

async function every(
  intervalMs: number,
  signal: AbortSignal,
  logger: Logger,
  what: string,
  work: () => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    await sleep(intervalMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    await work().catch((error: unknown) => {
      logger.warn({ error: describeError(error) }, `${what} failed; it is tried again`);
    });
  }
}
