/** Composition root of the agent: joins adapters to ports. Everything started here is stopped here. */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { customAlphabet } from 'nanoid';
import { FrotaError } from '../proto/base/errors.ts';
import type { Logger } from '../proto/base/log.ts';
import { parseAddress } from '../proto/rpc/client.ts';
import { NodeDrills } from './drills/node-drills.ts';
import { createEnforcer, every } from './enforcer.ts';
import type { Enforcer } from './enforcer.ts';
import { LocalRestarts } from './execute/local-restarts.ts';
import { NodeTasks } from './execute/node-tasks.ts';
import { detectCgroupLayout } from './host/cgroups.ts';
import { Launcher } from './host/launcher.ts';
import { requirePrograms, startProgramsThrough } from './host/programs.ts';
import { imageLimits } from './image-options.ts';
import { createImages } from './images/create-images.ts';
import { ImagesAhead } from './images/images-ahead.ts';
import { createCredentialProvider } from './images/registry-credentials.ts';
import type { TaskLeases } from './fencing/task-leases.ts';
import { createHeartbeats } from './liveness/heartbeats.ts';
import { createWatchdog } from './liveness/watchdog.ts';
import type { Watchdog } from './liveness/watchdog.ts';
import { nodesOf, reroute } from './reroute.ts';
import { checkDisk, diskCheckIntervalMs, watchedJournal, watchedRuntime } from './watched-parts.ts';
import { clock, connected, Link } from './link.ts';
import type { LinkParts } from './link.ts';
import { createNodeNetwork, networkPrograms } from './network/node-network.ts';
import type { NodeNetwork } from './network/network.ts';
import { createNodeNames } from './node-names.ts';
import { openLeases } from './open-leases.ts';
import { openMounts } from './open-mounts.ts';
import type { AgentOptions } from './options.ts';
import { createOciRuntime } from './runtime/oci/oci-runtime.ts';
import type { FollowedUnit } from './session/applied-units.ts';
import { loadAssignments } from './session/assignments.ts';
import type { NodeSelf } from './session/assignments.ts';
import { joinCluster, loadCredentials } from './session/credentials.ts';
import type { Credentials } from './session/credentials.ts';
import { NodeStreams } from './streams/node-streams.ts';
import { createJournal } from './state/journal.ts';
import type { Journal } from './state/journal.ts';

/** Certificates live for months and are renewed from half of that on; this often is close enough. */
const renewalCheckMs = 10 * 60 * 1000;
/** A rule or route that somebody took away is put back within this time. */
const repairIntervalMs = 30_000;
/** A node that is lost leaves each of the others a task or two; each spare network is a namespace and a veth pair. */
const spareLinks = 2;
/** As a controller makes them: unique among all tasks of the cluster. */
const newTaskId = customAlphabet('0123456789abcdefghijklmnopqrstuvwxyz', 12);
/** Everything an agent calls, asked for at the start, so that all that is missing is told at once. */
const neededPrograms = ['conmon', 'mount', 'umount', 'tar', 'bwrap', ...networkPrograms];

export async function runAgent(options: AgentOptions, logger: Logger, signal: AbortSignal): Promise<void> {
  await requirePrograms(neededPrograms.filter((program) => program !== 'conntrack'));
  // Before the token is used up: a machine that can't run containers must not join.
  await detectCgroupLayout();
  const credentials = await becomeNode(options, logger, signal);
  const launcher = new Launcher(join(options.run, 'calls'), logger);
  startProgramsThrough(launcher);
  try {
    await runWith(credentials, options, logger, signal);
  } finally {
    launcher.close();
  }
}

async function runWith(
  credentials: Credentials,
  options: AgentOptions,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  const address = options.address ?? (await addressTowards(credentials.controlAddresses[0] ?? ''));
  const disk = createWatchdog(() => performance.now());
  const calls = createWatchdog(() => performance.now());
  const journal = watchedJournal(createJournal(join(options.data, 'journal'), logger), disk);
  const assignments = await loadAssignments(journal, logger);
  const heartbeats = await createHeartbeats({
    workerUrl: new URL('./liveness/worker.js', import.meta.url),
    address,
    port: options.livenessPort,
    disk,
    runtime: calls,
    logger,
  });
  const bootId = new Uint8Array(randomBytes(16));
  const links: Link[] = [];
  const drills = openDrills(options, { address, livenessPort: heartbeats.port, logger, link: () => links[0] });
  const parts: LinkParts = { options, logger, signal, credentials, address, assignments, heartbeats, bootId };
  try {
    // First of all: what a drill has left standing would be in the way of everything else.
    await drills.resume();
    await runNode({ parts, links, journal, drills, disk, calls });
  } finally {
    await drills.close();
    await Promise.all(links.map((link) => link.close()));
    await heartbeats.close();
  }
}

async function becomeNode(options: AgentOptions, logger: Logger, signal: AbortSignal): Promise<Credentials> {
  const { join: address, data: dataDir, name: nodeName } = options;
  const token = options.token ?? process.env['FROTA_TOKEN'];
  if (token !== undefined && address !== undefined) {
    return joinCluster({ address, token, nodeName, dataDir, nowMs: clock.now().wallMs, signal, logger });
  }
  const known = await loadCredentials(dataDir);
  if (known !== undefined) return known;
  throw new FrotaError(
    'invalid',
    'this machine has not joined a cluster yet: give --join and --token as printed by `frota cluster token`',
  );
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
    const message = `no way to the controller at ${controlAddress}; if its address is right, give this machine's with --address`;
    throw new FrotaError('unavailable', message, { cause });
  } finally {
    socket.close();
  }
}

interface NodeParts {
  readonly parts: LinkParts;
  /** Gets the session as soon as there is one; the caller closes it. */
  readonly links: Link[];
  readonly journal: Journal;
  readonly drills: NodeDrills;
  readonly disk: Watchdog;
  /** Of the runtime. */
  readonly calls: Watchdog;
}

function openDrills(
  { data, cgroupParent }: AgentOptions,
  { link, logger, ...place }: { address: string; livenessPort: number; logger: Logger; link: () => Link | undefined },
): NodeDrills {
  return new NodeDrills({
    folder: join(data, 'drills'),
    // The same program as this one: bin/frota.
    undoProgram: [process.execPath, process.argv[1] ?? '', 'drill-undo'],
    probeWorkerUrl: new URL('./drills/probe-worker.js', import.meta.url),
    grounds: { ...place, cgroupParent, controller: () => link()?.controller() },
    logger,
  });
}

async function runNode({ parts, links, journal, drills, disk, calls }: NodeParts): Promise<void> {
  const { assignments, logger, signal, heartbeats } = parts;
  let inForce: readonly FollowedUnit[] = [];
  let local: LocalRestarts | undefined;
  const connectOnce = (): Link => {
    if (links[0] !== undefined) return links[0];
    const link = new Link(parts);
    links.push(link);
    link.applied(inForce);
    return link;
  };
  const self = assignments.self() ?? (await connectOnce().self());
  // Before a controller hears of this start: a node that can't run containers must not look ready.
  const { images, runtime: bareRuntime, network } = await openHost(parts, self, () => links[0]);
  const runtime = watchedRuntime(bareRuntime, calls);
  const names = createNodeNames(parts, self, network);
  await names.resume();
  const { data: dataDir, run: runDir } = parts.options;
  const mounts = await openMounts({ dataDir, runDir, nodeName: self.nodeName, link: () => links[0], logger });
  const leases = await openLeases(parts.options, { assignments, link: () => links[0], logger });
  const enforcer = createEnforcer(async () => {
    const unit = assignments.network();
    if (unit === undefined) return false;
    const units = assignments.services();
    const services = local?.services(units) ?? units;
    const revisions = assignments.heldServices();
    // Files first: whatever is wrong with one task's is told and never keeps the network from being made.
    await names.files.refresh(services);
    await network.apply({ network: unit, services });
    await names.serve(unit, services);
    // Only now: whatever leads to an endpoint from here is awaited above, because the controller stops tasks on this word.
    inForce = revisions;
    links[0]?.applied(inForce);
    drills.serving(services);
    heartbeats.setUsed(nodesOf(services).filter((nodeId) => nodeId !== self.nodeId));
    return true;
  }, logger);
  heartbeats.onSilent((nodeIds) => {
    names.reroute(nodeIds);
    reroute(network, nodeIds, logger);
  });
  const ahead = new ImagesAhead(images, logger);
  const tasks = new NodeTasks({
    ...{ images, runtime, network, mounts, leases, journal, clock, logger, files: names.files },
    networkReady: () => enforcer.ready,
    onStatus: (status) => {
      links[0]?.report(status);
      local?.noticed(status);
    },
  });
  try {
    await images.sweep();
    enforcer.wake();
    await tasks.adopt(assignments.tasks());
    logger.info({ nodeId: self.nodeId, subnet: self.subnet, tasks: tasks.statuses().length }, 'node is up');
    const link = connectOnce();
    const streams = new NodeStreams({ runtime, drills, open: (aborted) => link.openStream(aborted), logger });
    local = startLocalRestarts(link, { tasks, enforcer }, { self, ...parts });
    await attachTasks(link, { tasks, enforcer, streams, ahead, leases }, parts);
    await keepRight(parts, link, { network, disk }).finally(() => streams.close());
    // Said first, so that the controller gives this node its grace while the agent is away.
    heartbeats.announceRestart();
  } finally {
    if (!signal.aborted) logger.error({}, 'the node stops after a failure; its containers keep running');
    await enforcer.close();
    await local?.close();
    await Promise.all([tasks.close(), ahead.close(), leases.close()]);
    await Promise.allSettled([runtime.close(), images.close(), names.close(), network.close({ removeAll: false })]);
  }
}

async function openHost({ options, address, logger }: LinkParts, self: NodeSelf, link: () => Link | undefined) {
  const credentials = createCredentialProvider(
    async (registry, signal) => connected(link()).registryCredential(registry, signal),
    clock,
  );
  // The cluster's, and what this node knows besides.
  const insecureRegistries = [...new Set([...self.insecureRegistries, ...options.insecureRegistry])];
  const [images, runtime, network] = await Promise.all([
    createImages({ dataDir: options.data, logger, insecureRegistries, credentials, limits: imageLimits(options) }),
    createOciRuntime({
      dataDir: options.data,
      runDir: options.run,
      cgroupParent: options.cgroupParent,
      logger,
      ...(options.runtime === undefined ? {} : { runtime: options.runtime }),
    }),
    createNodeNetwork({
      nodeAddress: address,
      nodeSubnet: self.subnet,
      stateDir: join(options.data, 'network'),
      namePrefix: namePrefix(options.cgroupParent),
      spareLinks,
      logger,
    }),
  ]);
  return { images, runtime, network };
}

interface Attached {
  readonly tasks: NodeTasks;
  readonly enforcer: Enforcer;
  readonly streams: NodeStreams;
  readonly ahead: ImagesAhead;
  readonly leases: TaskLeases;
}

function startLocalRestarts(
  link: Link,
  { tasks, enforcer }: { tasks: NodeTasks; enforcer: Enforcer },
  { self, options, logger }: LinkParts & { readonly self: NodeSelf },
): LocalRestarts {
  return new LocalRestarts({
    tasks,
    nodeId: self.nodeId,
    cutOffForMs: () => link.cutOffForMs(),
    afterMs: options.localRestartAfter,
    onEndpoints: () => {
      enforcer.wake();
    },
    newId: newTaskId,
    clock,
    logger,
  });
}

async function attachTasks(
  link: Link,
  { tasks, enforcer, streams, ahead, leases }: Attached,
  { assignments }: LinkParts,
): Promise<void> {
  await link.attach({
    statuses: () => tasks.statuses(),
    onUnit: async (key) => {
      const assigned = assignments.tasks();
      if (key === 'images') ahead.want(assignments.images());
      else if (key !== 'tasks') enforcer.wake();
      else if (assigned !== undefined) await tasks.assign(assigned);
    },
    onSynced: () => {
      tasks.confirm();
      return Promise.resolve();
    },
    onOpen: (request) => {
      streams.answer(request);
    },
    onLease: (grant) => {
      leases.granted(grant);
    },
    localAttempt: (taskId) => tasks.localAttempt(taskId),
    onUnwanted: (taskIds) => tasks.refuse(taskIds),
  });
}

/** Until the agent is told to stop. */
async function keepRight(
  { signal, logger, options }: LinkParts,
  link: Link,
  { network, disk }: { network: NodeNetwork; disk: Watchdog },
): Promise<void> {
  await Promise.all([
    network.watch(signal),
    every(repairIntervalMs, { signal, logger, what: 'repair of the network' }, () => network.repair()),
    every(diskCheckIntervalMs, { signal, logger, what: 'check of the disk' }, () => checkDisk(options.data, disk)),
    every(renewalCheckMs, { signal, logger, what: 'renewal of the certificate' }, () => link.renew()),
  ]);
}

/** Several nodes can share a machine: what they make is told apart by their cgroup's path, which is each node's own. */
const namePrefix = (cgroupParent: string): string =>
  cgroupParent
    .split('/')
    .filter((part) => part !== '' && part !== 'frota')
    .join('-');
