/** This node's session with its controller, joined: credentials, connection, heartbeats. Part of the composition root. */
import { performance } from 'node:perf_hooks';
import { FrotaError } from '../proto/base/errors.ts';
import { monoMs, wallMs } from '../proto/base/clock.ts';
import type { Clock } from '../proto/base/clock.ts';
import type { Logger } from '../proto/base/log.ts';
import type { LeaseGrant, Welcome } from '../proto/codec/dispatch.ts';
import type { OpenStream, StreamDown, StreamUp } from '../proto/codec/streams.ts';
import type { FetchedContent } from '../proto/domain/content.ts';
import type { TaskStatus } from '../proto/domain/task.ts';
import type { Duplex } from '../proto/rpc/call.ts';
import { connect, createClient, parseAddress } from '../proto/rpc/client.ts';
import type { Client, Connection } from '../proto/rpc/client.ts';
import { dispatchService } from '../proto/rpc/service.ts';
import { frotaVersion } from '../proto/base/version.ts';
import type { ControllerPlace } from './drills/fault-rules.ts';
import { detectCgroupLayout } from './host/cgroups.ts';
import { readHostFacts } from './host/facts.ts';
import type { Heartbeats } from './liveness/heartbeats.ts';
import type { AgentOptions } from './options.ts';
import type { LocalAttempt } from './reconcile/local-restart.ts';
import type { FollowedUnit } from './session/applied-units.ts';
import type { Assignments, NodeSelf } from './session/assignments.ts';
import { renewalDue, renewCredentials } from './session/credentials.ts';
import type { Credentials } from './session/credentials.ts';
import { startSession } from './session/session.ts';
import type { DispatchStream, Session } from './session/session.ts';

export const clock: Clock = { now: () => ({ monoMs: monoMs(performance.now()), wallMs: wallMs(Date.now()) }) };

/** A controller answers from its store; one that takes longer is asked again. */
const fetchDeadlineMs = 10_000;

export interface LinkParts {
  readonly options: AgentOptions;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly credentials: Credentials;
  /** IP address under which the others reach this node. */
  readonly address: string;
  readonly assignments: Assignments;
  readonly heartbeats: Heartbeats;
  /** 16 random bytes, new at each start. */
  readonly bootId: Uint8Array;
}

/** What a node does with what its session brings. */
export interface NodeHooks {
  readonly statuses: () => readonly TaskStatus[];
  readonly onUnit: (key: string) => Promise<void>;
  readonly onSynced: () => Promise<void>;
  readonly onOpen: (request: OpenStream) => void;
  readonly onLease: (grant: LeaseGrant) => void;
  readonly localAttempt: (taskId: string) => LocalAttempt | undefined;
  readonly onUnwanted: (taskIds: readonly string[]) => Promise<void>;
}

/** The link, for calls that need a controller. @throws FrotaError `unavailable` before there is a session. */
export function connected(link: Link | undefined): Link {
  if (link === undefined) throw new FrotaError('unavailable', 'no controller is connected');
  return link;
}

/** The session runs from the start; what it brings is handed on once the node's parts are there. */
export class Link {
  readonly #parts: LinkParts;
  readonly #session: Session;
  readonly #firstWelcome: Promise<NodeSelf>;
  #welcomed: (self: NodeSelf) => void = () => undefined;
  #credentials: Credentials;
  /** Of the session that is open now. */
  #connection: Connection | undefined;
  #node: NodeHooks | undefined;
  #synced = false;
  #remoteAddress: () => string | undefined = () => undefined;
  #controller: ControllerPlace | undefined;

  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.#credentials = parts.credentials;
    this.#firstWelcome = new Promise((resolve, reject) => {
      this.#welcomed = resolve;
      const stopped = (): void => {
        reject(new FrotaError('cancelled', 'the agent was told to stop'));
      };
      parts.signal.addEventListener('abort', stopped, { once: true });
    });
    // Nobody may be waiting when the agent is stopped.
    this.#firstWelcome.catch(() => undefined);
    this.#session = startSession({
      open: (signal) => this.#open(signal),
      assignments: parts.assignments,
      bootId: parts.bootId,
      facts: async () => {
        const host = await readHostFacts(frotaVersion, await detectCgroupLayout(), parts.options.cgroupParent);
        const { address, heartbeats } = parts;
        return { nodeId: this.#credentials.nodeId, address, livenessPort: heartbeats.port, ...host };
      },
      statuses: () => this.#node?.statuses() ?? [],
      localAttempt: (taskId) => this.#node?.localAttempt(taskId),
      onUnwanted: async (taskIds) => this.#node?.onUnwanted(taskIds),
      onWelcome: (welcome) => {
        this.#onWelcome(welcome);
        return Promise.resolve();
      },
      onLivenessPlan: (plan) => {
        parts.heartbeats.setPlan(plan);
      },
      onLease: (grant) => {
        this.#node?.onLease(grant);
      },
      onUnit: async (key) => this.#node?.onUnit(key),
      onSynced: async () => {
        this.#synced = true;
        await this.#node?.onSynced();
      },
      onOpen: (request) => {
        this.#node?.onOpen(request);
      },
      clock,
      random: Math.random,
      logger: parts.logger,
    });
  }

  /** Who this node is: known from an earlier start, or from the first welcome of its life. */
  self(): Promise<NodeSelf> {
    const known = this.#parts.assignments.self();
    return known === undefined ? this.#firstWelcome : Promise.resolve(known);
  }

  /** For how long there has been no session with a controller; undefined: there is one. */
  cutOffForMs(): number | undefined {
    return this.#session.cutOffForMs();
  }

  report(status: TaskStatus): void {
    this.#session.report(status);
  }

  applied(units: readonly FollowedUnit[]): void {
    this.#session.applied(units);
  }

  askLeases(number: number): boolean {
    return this.#session.askLeases(number);
  }

  async attach(hooks: NodeHooks): Promise<void> {
    this.#node = hooks;
    for (const status of hooks.statuses()) this.#session.report(status);
    await hooks.onUnit('tasks');
    await hooks.onUnit('images');
    if (this.#synced) await hooks.onSynced();
  }

  /** Renews the certificate at half of its life; the next connection uses it. */
  async renew(): Promise<void> {
    if (!renewalDue(this.#credentials, clock.now().wallMs)) return;
    const { options, signal, logger } = this.#parts;
    const connection = this.#connect();
    try {
      const client = createClient(dispatchService, connection);
      this.#credentials = await renewCredentials(client, this.#credentials, options.data, signal);
      logger.info({}, 'the certificate was renewed');
    } finally {
      connection.close();
    }
  }

  /** Bytes of configs and secrets that a task of this node needs. @throws FrotaError `unavailable` without a controller. */
  async fetchContents(ids: readonly string[], signal: AbortSignal): Promise<readonly FetchedContent[]> {
    const client = this.#client();
    return (await client.fetchContents({ ids }, { deadlineMs: fetchDeadlineMs, signal })).contents;
  }

  /** A stream beside the session, on its connection. @throws FrotaError `unavailable` without a controller. */
  openStream(signal: AbortSignal): Duplex<StreamUp, StreamDown> {
    return this.#client().stream({ signal });
  }

  /** What this node may pull with; undefined: nothing. @throws FrotaError `unavailable` without a controller. */
  async registryCredential(
    registry: string,
    signal: AbortSignal,
  ): Promise<{ readonly username: string; readonly password: string } | undefined> {
    const client = this.#client();
    return (await client.getRegistryCredential({ registry }, { deadlineMs: fetchDeadlineMs, signal })).credential;
  }

  /** Where the controller was at the last welcome. */
  controller(): ControllerPlace | undefined {
    return this.#controller;
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  #client(): Client<typeof dispatchService> {
    if (this.#connection === undefined) throw new FrotaError('unavailable', 'no controller is connected');
    return createClient(dispatchService, this.#connection);
  }

  #connect(): Connection {
    const { ca, certificate, key, controlAddresses } = this.#credentials;
    return connect({ addresses: controlAddresses, tls: { ca, certificate, key } });
  }

  #open(signal: AbortSignal): DispatchStream {
    const connection = this.#connect();
    this.#connection = connection;
    const stream = createClient(dispatchService, connection).session({ signal });
    this.#remoteAddress = () => stream.remoteAddress();
    return {
      send: (message) => stream.write(message),
      messages: stream,
      close: () => {
        stream.close();
        if (this.#connection === connection) this.#connection = undefined;
        connection.close();
      },
    };
  }

  #onWelcome(welcome: Welcome): void {
    const { nodeId, nodeName, subnet, epoch, insecureRegistries } = welcome;
    const { host, port } = parseAddress(this.#credentials.controlAddresses[0] ?? '');
    const controller = this.#remoteAddress() ?? host;
    this.#controller = { address: controller, ports: [port], livenessPort: welcome.livenessPort };
    this.#parts.heartbeats.setController({
      address: controller,
      port: welcome.livenessPort,
      key: welcome.livenessKey,
      intervalMs: welcome.heartbeatIntervalMs,
      nodeId,
      bootId: this.#parts.bootId,
    });
    this.#welcomed({ nodeId, nodeName, subnet, epoch, insecureRegistries });
  }
}
