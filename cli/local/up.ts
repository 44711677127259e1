/** `frota cluster up`: a whole cluster on this machine, or what is missing of it. */
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { FrotaError } from '../../proto/base/errors.ts';
import { killGroup } from './cgroups.ts';
import { findInstallation, type Installation } from './installation.ts';
import { launch } from './launch.ts';
import { withLock } from './lock.ts';
import {
  baseEnvironment,
  folderOf,
  groupOf,
  logFileOf,
  partsOf,
  pidFileOf,
  registryConfig,
  registryConfigFile,
  registryId,
  supervisorId,
  tokenFileOf,
} from './parts.ts';
import { isAlive, readPidRecord } from './pid-records.ts';
import {
  addressesIn,
  controllerId,
  controlPort,
  defaultNodes,
  maxNodes,
  nodeIds,
  placeOf,
  type Place,
} from './place.ts';
import type { Change, ContextEntry, ControlClient, UpNode, UpOptions, UpResult } from './ports.ts';
import { readRecord, writeRecord, writeWhole, type ClusterRecord } from './record.ts';
import { pickSubnet, takenSubnets } from './subnet.ts';
import { waitForAdminContext, waitForListener, waitForNodes, waitForPart, waitForStates } from './waiting.ts';
import { ensureBridge, ensureNamespace } from './wiring.ts';

/** What `up` learns on its way; the steps are in the order of `up` below. */
interface Work {
  readonly place: Place;
  readonly options: UpOptions;
  readonly installation: Installation;
  readonly before: ClusterRecord | undefined;
  /** Ids of the programs that ran when `up` was called. */
  readonly ranBefore: ReadonlySet<string>;
  readonly wanted: readonly string[];
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Makes what is missing and starts what does not run; changes nothing when all is there. Fewer nodes than there are: the
 * rest stays. Safe to call at any time, also from several processes at once, after a reboot and after SIGKILL of everything.
 *
 * @throws FrotaError `invalid` (name, number of nodes), `forbidden` (not root), `unavailable` and `deadline` with the end of
 * the log of the program that does not come up, `exhausted` (no free subnet), `cancelled`
 */
export async function clusterUp(options: UpOptions): Promise<UpResult> {
  const place = placeOf(options.name, process.env);
  checkRequest(options);
  const installation = options.installation ?? findInstallation();
  return withLock(
    `cluster-${place.name}`,
    async () => {
      const before = await readRecord(place);
      const existing = before?.nodes.length ?? 0;
      const asked = options.nodes ?? (existing === 0 ? defaultNodes : existing);
      const wanted = nodeIds(Math.max(asked, existing));
      if (asked < existing) {
        options.onProgress?.(
          `cluster ${place.name} has ${existing} nodes and keeps them: --nodes ${asked} removes none`,
        );
      }
      const work: Work = {
        place,
        options,
        installation,
        before,
        ranBefore: runningNow(place, [supervisorId, registryId, controllerId, ...wanted]),
        wanted,
        say: options.onProgress ?? ((): void => undefined),
        signal: options.signal ?? new AbortController().signal,
      };
      return up(work);
    },
    options.signal,
  );
}

async function up(work: Work): Promise<UpResult> {
  const { place, options, signal, wanted } = work;
  const known = await ensureRecord(work);
  const renewed = await ensureWiring(work, known);
  await ensureSupervisor(work, known);
  const entry = await reachController(work, known);
  await options.contexts.save(entry);
  const client = options.connect(entry);
  try {
    const record = await ensureJoined(work, known, client);
    const agents = partsOf(place, record, process.env).filter((part) => wanted.includes(part.id));
    for (const part of agents) await waitForPart(part, signal);
    const states = options.wait
      ? await waitForNodes(client, agents, {
          onNodes: options.onNodes ?? ((): void => undefined),
          timeoutMs: options.timeoutMs,
          signal,
        })
      : undefined;
    if (states !== undefined) for (const id of wanted) await rm(tokenFileOf(place, id), { force: true });
    return describe(work, record, entry, (id) => ({
      name: id,
      address: addressesIn(record.subnet).node(id),
      state: states?.get(id) ?? 'starting',
      change: changeOf(work, id, renewed),
    }));
  } finally {
    client.close();
  }
}

function checkRequest(options: UpOptions): void {
  const { nodes } = options;
  if (nodes !== undefined && !(Number.isInteger(nodes) && nodes >= 1 && nodes <= maxNodes)) {
    throw new FrotaError('invalid', `a local cluster has 1 to ${maxNodes} nodes, not ${nodes}`);
  }
  if (process.geteuid?.() !== 0) {
    throw new FrotaError('forbidden', 'a local cluster makes namespaces, bridges and cgroups: run this as root');
  }
}

/** Subnet and name, written down before anything is made, so that `down` finds what a crash leaves. */
async function ensureRecord(work: Work): Promise<ClusterRecord> {
  const { place, before, installation, say } = work;
  if (before !== undefined) {
    if (before.program === installation.program) return before;
    const moved = { ...before, program: installation.program };
    await writeRecord(place, moved);
    return moved;
  }
  // One lock for all clusters: two that are made at once must not choose the same subnet.
  return withLock('subnets', async () => {
    const subnet = pickSubnet(place.name, await takenSubnets(place, process.env));
    const record = { name: place.name, subnet, nodes: [], program: installation.program };
    say(`making cluster ${place.name} in ${subnet}`);
    await writeRecord(place, record);
    return record;
  });
}

/** Returns the machines whose namespace had to be made. */
async function ensureWiring(work: Work, record: ClusterRecord): Promise<ReadonlySet<string>> {
  const { place, wanted, say } = work;
  await ensureBridge(place, record.subnet);
  const renewed = new Set<string>();
  for (const id of [controllerId, ...wanted]) {
    if (!(await ensureNamespace(place, record.subnet, id))) continue;
    renewed.add(id);
    // What still runs there sits in a namespace that has no name and no link any more.
    await killGroup(groupOf(place, id));
  }
  if (renewed.size > 0) say(`made network namespaces for ${[...renewed].join(', ')}`);
  return renewed;
}

async function ensureSupervisor(work: Work, record: ClusterRecord): Promise<void> {
  const { place, installation, say } = work;
  const config = registryConfig(place, record);
  const configFile = registryConfigFile(place);
  if ((await readFile(configFile, 'utf8').catch(() => '')) !== config) await writeWhole(configFile, config);
  const pidFile = pidFileOf(place, supervisorId);
  if (isAlive(readPidRecord(pidFile))) return;
  say('starting controller and registry');
  const supervisor = {
    argv: [process.execPath, installation.supervisor, 'supervise', place.name],
    env: baseEnvironment(process.env),
    cgroup: groupOf(place, supervisorId),
    pidFile,
    logFile: logFileOf(place, supervisorId),
  };
  await killGroup(supervisor.cgroup);
  await launch(supervisor);
  await waitForPart({ id: supervisorId, launch: supervisor }, work.signal);
}

async function reachController(work: Work, record: ClusterRecord): Promise<ContextEntry> {
  const { place, signal } = work;
  const { controller, host, registry } = addressesIn(record.subnet);
  const admin = await waitForAdminContext(place, signal);
  await waitForListener(controller, controlPort, logFileOf(place, controllerId), signal);
  await waitForListener(host, Number(registry.split(':')[1]), logFileOf(place, registryId), signal);
  return { name: place.name, ...admin, registry };
}

/**
 * A token for each node that is not well, for it may be new, or its certificate may have expired while the cluster was down;
 * an agent with a valid certificate does not look at it. Then the nodes are written down, which makes the supervisor start them.
 */
async function ensureJoined(work: Work, known: ClusterRecord, client: ControlClient): Promise<ClusterRecord> {
  const { place, wanted, ranBefore, say, signal } = work;
  const states = await waitForStates(client, logFileOf(place, controllerId), signal);
  for (const id of wanted) {
    if (states.get(id) === 'ready' && existsSync(folderOf(place, id))) continue;
    // Single use and short-lived; readable by root alone, and removed when the node is ready.
    await writeWhole(tokenFileOf(place, id), await client.createJoinToken(signal), 0o600);
  }
  const idle = wanted.filter((id) => !ranBefore.has(id));
  if (idle.length > 0) say(`starting agents on ${idle.join(', ')}`);
  const nodes = [...new Set([...known.nodes, ...wanted])];
  if (nodes.length === known.nodes.length) return known;
  const record = { ...known, nodes };
  await writeRecord(place, record);
  return record;
}

const runningNow = (place: Place, ids: readonly string[]): ReadonlySet<string> =>
  new Set(ids.filter((id) => isAlive(readPidRecord(pidFileOf(place, id)))));

function changeOf(work: Work, id: string, renewed: ReadonlySet<string>): Change {
  if (work.before === undefined || (id !== controllerId && !work.before.nodes.includes(id))) return 'created';
  return work.ranBefore.has(id) && !renewed.has(id) ? 'unchanged' : 'started';
}

function describe(work: Work, record: ClusterRecord, entry: ContextEntry, node: (id: string) => UpNode): UpResult {
  const { place, before, ranBefore } = work;
  const nodes = record.nodes.map(node);
  const allRan = [supervisorId, registryId, controllerId].every((id) => ranBefore.has(id));
  const unchanged = allRan && nodes.every((each) => each.change === 'unchanged');
  return {
    name: place.name,
    change: before === undefined ? 'created' : unchanged ? 'unchanged' : 'started',
    subnet: record.subnet,
    controller: `${addressesIn(record.subnet).controller}:${controlPort}`,
    nodes,
    registry: entry.registry,
    context: entry.name,
    stateFolder: place.stateFolder,
  };
}
