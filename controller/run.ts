/** Composition root of the controller: joins adapters to ports. Everything started here is stopped here. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { customAlphabet } from 'nanoid';
import { describeError } from '../proto/base/errors.ts';
import { monoMs, wallMs } from '../proto/base/clock.ts';
import type { Clock } from '../proto/base/clock.ts';
import type { Logger } from '../proto/base/log.ts';
import { frotaVersion } from '../proto/base/version.ts';
import { reviseUnit } from '../proto/codec/assignment.ts';
import { parseAddress } from '../proto/rpc/client.ts';
import { createServer } from '../proto/rpc/server.ts';
import { advertisedHost } from './advertised-host.ts';
import { createControl } from './api/control.ts';
import type { Control } from './api/control.ts';
import { createDispatch } from './dispatch/dispatch.ts';
import type { Dispatch } from './dispatch/dispatch.ts';
import { LeaseBook } from './dispatch/leases.ts';
import { createLivenessJudge } from './liveness/liveness-judge.ts';
import type { LivenessJudge } from './liveness/liveness-judge.ts';
import { startControlLoop } from './loop/control-loop.ts';
import { startSpares } from './loop/spares.ts';
import type { SpareNodes } from './loop/spares.ts';
import type { ControlLoop } from './loop/control-loop.ts';
import { openSealer } from './open-sealer.ts';
import { openStore } from './open-store.ts';
import { openRegistries } from './open-registries.ts';
import type { Registries } from './open-registries.ts';
import { brakeOf, livenessTimes } from './liveness-options.ts';
import { livenessSettings } from './liveness/settings.ts';
import type { ControllerOptions } from './options.ts';
import { plan } from './plan/plan.ts';
import { spareImages as chooseSpares } from './plan/spare-images.ts';
import type { Plan, PlanInput, Snapshot } from './plan/snapshot.ts';
import { rememberHashes } from './plan/template-hashes.ts';
import { sparesOfNodes } from './schedule/spares.ts';
import { ensureAdminContext } from './security/admin-context.ts';
import { loadOrCreateAuthority } from './security/authority.ts';
import type { Authority } from './security/authority.ts';
import { livenessKey } from './security/liveness-keys.ts';
import type { Sealer } from './security/sealing.ts';
import { deleteExpiredTokens, issueToken } from './security/tokens.ts';
import { addControl } from './serve-control.ts';
import { addDispatch } from './serve-dispatch.ts';
import { addJoin } from './serve-join.ts';
import { startDrilling } from './start-drilling.ts';
import type { DrillRuns } from './drilling/drill-runs.ts';
import { takeLeadership } from './store/cluster-record.ts';
import type { Leadership } from './store/cluster-record.ts';
import { contentTransactions, readContent } from './store/contents.ts';
import { startHistory } from './start-history.ts';
import type { History } from './start-history.ts';
import { startMirror } from './store/mirror.ts';
import type { Mirror } from './store/mirror.ts';
import { createRecords } from './store/write-records.ts';
import type { Records } from './store/write-records.ts';
import type { Store } from './store/store.ts';
import { createBroker } from './streams/broker.ts';
import { createNodeWatch } from './watch-nodes.ts';
import type { NodeWatch } from './watch-nodes.ts';

/** Lower case and digits: ids become host names, namespaces and cgroups. 36^12 makes a collision a matter of centuries. */
const newId = customAlphabet('0123456789abcdefghijklmnopqrstuvwxyz', 12);
const clock: Clock = { now: () => ({ monoMs: monoMs(performance.now()), wallMs: wallMs(Date.now()) }) };
const sha256 = (value: string | Uint8Array): string => createHash('sha256').update(value).digest('hex');

interface Core {
  readonly options: ControllerOptions;
  readonly logger: Logger;
  readonly authority: Authority;
  readonly store: Store;
  readonly leadership: Leadership;
  readonly mirror: Mirror;
  readonly records: Records;
  readonly sealer: Sealer;
  readonly registries: Registries;
  readonly judge: LivenessJudge;
  readonly leases: LeaseBook;
  readonly loop: ControlLoop;
  readonly spares: SpareNodes;
  readonly history: History;
}

export async function runController(options: ControllerOptions, logger: Logger, signal: AbortSignal): Promise<void> {
  const stops: (() => Promise<void> | void)[] = [];
  try {
    const core = await startCore(options, logger, stops);
    const addresses = await startServers(core, stops);
    await ensureAdminContext(options.data, core.authority, addresses, clock.now().wallMs);
    logger.info(
      { ...addresses, epoch: core.leadership.cluster.epoch, cluster: core.leadership.cluster.id },
      'controller is up',
    );
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
  } finally {
    // Last started, first stopped: nobody asks a part that is gone.
    for (const stop of stops.reverse()) {
      await Promise.resolve(stop()).catch((error: unknown) => {
        logger.warn({ error: describeError(error) }, 'a part did not stop cleanly');
      });
    }
  }
}

async function startCore(
  options: ControllerOptions,
  logger: Logger,
  stops: (() => Promise<void> | void)[],
): Promise<Core> {
  const authority = await loadOrCreateAuthority(join(options.data, 'authority'), clock.now().wallMs);
  const store = await openStore(options, logger);
  stops.push(() => store.close());
  const sealer = await openSealer(options, store, logger);
  const leadership = await takeLeadership(store, {
    id: newId(),
    containerPool: options.containerPool,
    vipPool: options.vipPool,
    caCertificate: authority.certificate,
  });
  await deleteExpiredTokens(store, clock.now().wallMs);
  const mirror = await startMirror(store, logger);
  stops.push(() => mirror.close());
  const records = createRecords({ store, leadership, mirror });
  const leases = new LeaseBook({ snapshot: () => mirror.snapshot(), confirmLead: () => records.confirmLead(), clock });
  const judge = await startJudge(options, logger);
  stops.push(() => judge.close());
  const snapshot = (): Snapshot => mirror.snapshot();
  const liveness = () => judge.states();
  const spares = startSpares({ snapshot, liveness, choose: chooseSpares, count: options.spareImages });
  stops.push(() => {
    spares.close();
  });
  const history = await startHistory({ store, leadership, judge, mirror, clock, logger });
  stops.push(() => history.chronicle.close());
  const templateHash = rememberHashes(sha256);
  const brake = brakeOf(options);
  const loop = startControlLoop({
    snapshot,
    liveness,
    plan: (snapshot, input) =>
      decide({ mirror, leases }, snapshot, { ...input, spares: spares.chosen(), brake, templateHash }),
    commit: (changes) => records.commit(changes),
    onCommitted: (changes, times) => {
      history.recoveries.committed(changes, times);
    },
    clock,
    newId,
    hash: sha256,
    logger,
  });
  stops.push(() => loop.close());
  const registries = openRegistries({ store, records, sealer, snapshot, options, clock });
  return {
    options,
    logger,
    authority,
    store,
    leadership,
    mirror,
    records,
    sealer,
    registries,
    judge,
    leases,
    loop,
    spares,
    history,
  };
}

function startJudge(options: ControllerOptions, logger: Logger): Promise<LivenessJudge> {
  const { host, port } = parseAddress(options.livenessListen);
  const settings = livenessSettings(livenessTimes(options));
  const workerUrl = new URL('./liveness/worker.js', import.meta.url);
  return createLivenessJudge({ workerUrl, address: host, port, settings, logger });
}

/** In one turn: nobody answers for a lease between the plan and what it says of it. */
function decide(
  { mirror, leases }: { readonly mirror: Mirror; readonly leases: LeaseBook },
  snapshot: Snapshot,
  input: PlanInput,
): Plan {
  if (mirror.unreadable().size > 0) return held(mirror.unreadable());
  const decided = plan(snapshot, { ...input, leases: leases.known() });
  leases.decided(decided.changes);
  return decided;
}

/** A stack that can't be read looks like one that was removed: better nothing is decided until somebody has looked. */
function held(unreadable: ReadonlyMap<string, string>): Plan {
  const problems = [...unreadable].map(([where, message]) => ({
    where,
    message: `${message}; nothing is decided while a record can't be read: put back a copy of the store, or delete this record`,
  }));
  return { changes: [], reasons: new Map(), problems };
}

function createSessions(core: Core, nodeWatch: NodeWatch): Dispatch {
  const { options, logger, mirror, judge } = core;
  const { recoveries } = core.history;
  return createDispatch({
    snapshot: () => mirror.snapshot(),
    liveness: () => judge.states(),
    spareImages: () => sparesOfNodes(core.spares.chosen()),
    revise: (unit) => reviseUnit(unit, sha256),
    storeStatuses: async (statuses) => {
      // First: once it is stored, what replaces it may be on its way before this goes on.
      for (const status of statuses) recoveries.reported(status);
      await core.records.putStatuses(statuses);
    },
    adopt: (adoptions) => core.records.takePlaces(adoptions),
    rememberStatus: (status) => {
      mirror.reportTransient(status);
      recoveries.reported(status);
    },
    onApplied: (unitKeys) => {
      recoveries.look(unitKeys);
    },
    storeFacts: (facts) => core.records.putFacts(facts),
    welcome: (nodeId) => ({
      epoch: core.leadership.cluster.epoch,
      livenessKey: livenessKey(core.leadership.cluster.secret, nodeId),
      livenessPort: judge.port,
      insecureRegistries: options.insecureRegistry,
      heartbeatIntervalMs: nodeWatch.planFor(nodeId).heartbeatIntervalMs,
    }),
    leases: (nodeId, number) => core.leases.answer(nodeId, number),
    livenessPlan: (nodeId) => nodeWatch.planFor(nodeId),
    pong: (nodeId, number) => {
      judge.pong(nodeId, number);
    },
    clock,
    logger,
  });
}

interface Addresses {
  /** host:port */
  readonly control: string;
  /** host:port */
  readonly join: string;
}

async function startServers(core: Core, stops: (() => Promise<void> | void)[]): Promise<Addresses> {
  const { options, logger, authority, mirror, judge, loop } = core;
  const snapshot = (): Snapshot => mirror.snapshot();
  const spareImages = () => sparesOfNodes(core.spares.chosen());
  const nodeWatch = createNodeWatch({
    mirror,
    judge,
    clusterSecret: core.leadership.cluster.secret,
    baseIntervalMs: options.heartbeat,
  });
  const dispatch = createSessions(core, nodeWatch);
  core.history.followSessions((task) => dispatch.leadsEverywhere(task));
  const broker = createBroker({
    send: (nodeId, message) => dispatch.send(nodeId, message),
    nodeName: (nodeId) => snapshot().nodes.get(nodeId)?.value.name ?? nodeId,
    newId,
  });
  nodeWatch.start(dispatch);
  mirror.onChange(() => {
    loop.wake();
    dispatch.changed();
  });
  judge.onChange(() => loop.wake());
  // Who has to lead to a task changes with nodes and with tasks, and either ends in a pass.
  loop.onPass(() => {
    core.history.recoveries.look();
  });
  core.spares.onChange(() => {
    dispatch.changed();
  });
  const advertised = options.advertise ?? advertisedHost(options.listen);
  const identity = await authority.issueServer([advertised], clock.now().wallMs);
  const tls = { certificate: identity.certificate, key: identity.key, ca: authority.certificate };
  const joinServer = createServer({ tls: { ...tls, requireClientCertificate: false }, logger });
  const controlServer = createServer({ tls: { ...tls, requireClientCertificate: true }, logger });
  const addresses = addressesOf(options, advertised);
  const drills = await startDrilling({ ...core, broker, data: options.data, newId, clock });
  stops.push(() => drills.close());
  addJoin(joinServer, { ...core, controlAddress: addresses.control, newId, clock });
  addControl(controlServer, createControlService(core, addresses, drills), {
    snapshot,
    onChange: (listener) => mirror.onChange(listener),
    broker,
    nowMs: () => performance.now(),
  });
  addDispatch(controlServer, {
    dispatch,
    broker,
    authority,
    snapshot,
    readContent: (id) => readContent(core.store, core.sealer, id),
    readRegistry: (host) => core.registries.readRegistry(host),
    spareImages,
    clock,
  });
  stops.push(() => Promise.all([joinServer.close(), controlServer.close()]).then(() => undefined));
  await joinServer.listen(options.joinListen);
  await controlServer.listen(options.listen);
  return addresses;
}

function addressesOf({ listen, joinListen }: ControllerOptions, host: string): Addresses {
  const withPort = (port: number): string => (host.includes(':') ? `[${host}]` : host) + `:${String(port)}`;
  return { control: withPort(parseAddress(listen).port), join: withPort(parseAddress(joinListen).port) };
}

function createControlService(core: Core, addresses: Addresses, drills: DrillRuns): Control {
  const { mirror, judge, loop, authority, store, leadership, records, sealer, history } = core;
  return createControl({
    snapshot: () => mirror.snapshot(),
    liveness: () => judge.states(),
    reasons: () => loop.reasons(),
    passed: () => loop.passed(),
    onChange: (listener) => {
      const offs = [mirror.onChange(listener), loop.onPass(listener), judge.onChange(listener)];
      return () => {
        for (const off of offs) off();
      };
    },
    ...core.registries,
    putStack: (name, revision, modRevision) => records.putStack(name, revision, modRevision),
    history: (stack) => records.history(stack),
    contentId: (content) => sealer.contentId(content),
    putContents: async (contents) => {
      await records.write(contentTransactions(contents, sealer, clock.now().wallMs));
    },
    putNode: (node, modRevision) => records.putNode(node, modRevision),
    createToken: async (ttlMs) => {
      const { token, record } = await issueToken(store, authority.digest, clock.now().wallMs, ttlMs);
      return { token, expiresAtMs: record.expiresAtMs };
    },
    readEvents: () => history.chronicle.read(),
    onEvents: (listener) => history.chronicle.onAppend(listener),
    nowMs: () => clock.now().wallMs,
    drills,
    planFor: (liveness) => plan(mirror.snapshot(), { now: clock.now(), newId, liveness, hash: sha256 }),
    draw: Math.random,
    joinAddress: addresses.join,
    version: frotaVersion,
    clusterId: leadership.cluster.id,
    clock,
  });
}
