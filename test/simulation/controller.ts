/** One run of a controller: the real store rooms, loop, plan, dispatch and use-cases, joined as `controller/run.ts` joins them. */
import { createHash } from 'node:crypto';
import type { StackPorts } from '../../controller/api/stacks.ts';
import { LeaseBook } from '../../controller/dispatch/leases.ts';
import { createDispatch } from '../../controller/dispatch/dispatch.ts';
import type { Dispatch } from '../../controller/dispatch/dispatch.ts';
import { defaultLivenessSettings } from '../../controller/liveness/settings.ts';
import { startControlLoop } from '../../controller/loop/control-loop.ts';
import type { ControlLoop } from '../../controller/loop/control-loop.ts';
import { plan } from '../../controller/plan/plan.ts';
import { takeLeadership } from '../../controller/store/cluster-record.ts';
import { contentTransactions } from '../../controller/store/contents.ts';
import type { Seal } from '../../controller/store/contents.ts';
import { startMirror } from '../../controller/store/mirror.ts';
import type { Mirror } from '../../controller/store/mirror.ts';
import { createRecords } from '../../controller/store/write-records.ts';
import type { Clock } from '../../proto/base/clock.ts';
import { monoMs, wallMs } from '../../proto/base/clock.ts';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { reviseUnit } from '../../proto/codec/assignment.ts';
import type { AgentMessage, ControllerMessage } from '../../proto/codec/dispatch.ts';
import { Life } from './life.ts';
import { SimulatedLiveness } from './liveness.ts';
import { maxDrift } from './machine.ts';
import type { Random } from './random.ts';
import type { SimulatedStore } from './simulated-store.ts';
import type { Stream } from './stream.ts';
import type { Tally } from './tally.ts';
import type { VirtualTime } from './virtual-time.ts';

export const clusterSettings = {
  id: 'simulated',
  containerPool: '10.64.0.0/12',
  vipPool: '10.80.0.0/16',
  caCertificate: 'simulated',
} as const;

export type AgentStream = Stream<AgentMessage, ControllerMessage>;

export interface ControllerParts {
  /** Also the host it runs on: each run has one of its own, so that an old one can live on beside a new one. */
  readonly name: string;
  readonly time: VirtualTime;
  readonly epochMs: number;
  readonly random: Random;
  readonly store: SimulatedStore;
  readonly newId: () => string;
  readonly logger: Logger;
  readonly note: (what: string) => void;
  readonly probe: (controller: Controller, nodeId: string) => void;
  readonly ask: (controller: Controller, peerId: string, aboutId: string) => void;
  readonly tally: Tally;
}

const sha256 = (value: string | Uint8Array): string => createHash('sha256').update(value).digest('hex');
/** Wall clocks of two controllers differ by this much at the most, ms either way. */
const maxClockOffsetMs = 2_000;

/** Sealing has a test of its own. */
const unsealed: Seal = { seal: (plain) => plain, open: (sealed) => sealed };

/** Joined parts, from the moment a controller has read the store. */
interface Core {
  readonly epoch: number;
  readonly mirror: Mirror;
  readonly loop: ControlLoop;
  readonly dispatch: Dispatch;
  readonly stacks: StackPorts;
}

export class Controller {
  readonly name: string;
  readonly life: Life;
  readonly liveness: SimulatedLiveness;
  readonly streams = new Set<AgentStream>();
  readonly #parts: ControllerParts;
  readonly #clock: Clock;
  #wallOffsetMs: number;
  #core: Core | undefined;

  constructor(parts: ControllerParts) {
    this.name = parts.name;
    this.life = new Life(parts.name, parts.time, parts.random.fork());
    this.#parts = parts;
    const startedMs = parts.time.nowMs;
    this.#wallOffsetMs = parts.random.between(-maxClockOffsetMs, maxClockOffsetMs);
    const rate = 1 + parts.random.between(-maxDrift, maxDrift);
    const wall = (): number => Math.floor(parts.epochMs + this.#wallOffsetMs + parts.time.nowMs * rate);
    const mono = (): number => (parts.time.nowMs - startedMs) * rate;
    this.#clock = { now: () => ({ monoMs: monoMs(mono()), wallMs: wallMs(wall()) }) };
    this.liveness = new SimulatedLiveness({
      life: this.life,
      time: parts.time,
      wallMs: wall,
      note: parts.note,
      probe: (nodeId) => {
        parts.probe(this, nodeId);
      },
      ask: (peerId, aboutId) => {
        parts.ask(this, peerId, aboutId);
      },
      ping: (nodeId, number) => void this.#core?.dispatch.send(nodeId, { kind: 'ping', number }),
      tally: parts.tally,
    });
  }

  /** Undefined until the store has been read and the epoch raised. */
  get core(): Core | undefined {
    return this.#core;
  }

  /** Rejects when the store fails meanwhile: the program then ends, and a supervisor starts the next. */
  async start(): Promise<void> {
    const { store, logger, note } = this.#parts;
    const own = store.handle(this.life);
    const leadership = await takeLeadership(own, clusterSettings);
    const { cluster } = leadership;
    const mirror = await startMirror(own, logger);
    const records = createRecords({ store: own, leadership, mirror });
    const leases = new LeaseBook({
      snapshot: () => mirror.snapshot(),
      confirmLead: () => records.confirmLead(),
      clock: this.#clock,
    });
    const loop = startControlLoop({
      snapshot: () => mirror.snapshot(),
      liveness: () => this.liveness.states(),
      plan: (snapshot, input) => {
        const decided = plan(snapshot, { ...input, leases: leases.known() });
        leases.decided(decided.changes);
        return decided;
      },
      commit: (changes) => records.commit(changes),
      clock: this.#clock,
      newId: this.#parts.newId,
      hash: sha256,
      logger,
    });
    const dispatch = createDispatch({
      snapshot: () => mirror.snapshot(),
      liveness: () => this.liveness.states(),
      spareImages: () => new Map(),
      revise: (unit) => reviseUnit(unit, sha256),
      storeStatuses: (statuses) => records.putStatuses(statuses),
      adopt: (adoptions) => records.takePlaces(adoptions),
      rememberStatus: (status) => {
        mirror.reportTransient(status);
      },
      storeFacts: (facts) => records.putFacts(facts),
      leases: (nodeId, number) => leases.answer(nodeId, number),
      livenessPlan: () => ({ kind: 'liveness', heartbeatIntervalMs: 200, peers: [] }),
      pong: (nodeId, number) => {
        this.liveness.pong(nodeId, number);
      },
      welcome: () => ({
        epoch: cluster.epoch,
        livenessKey: new Uint8Array(32),
        livenessPort: 7402,
        insecureRegistries: [],
        heartbeatIntervalMs: defaultLivenessSettings.heartbeatIntervalMs,
      }),
      clock: this.#clock,
      logger,
    });
    const watchNodes = (): void => {
      const { nodes, facts } = mirror.snapshot();
      this.liveness.setNodes([...nodes.keys()].filter((nodeId) => facts.has(nodeId)));
    };
    watchNodes();
    mirror.onChange(() => {
      watchNodes();
      loop.wake();
      dispatch.changed();
    });
    this.liveness.onChange(() => {
      loop.wake();
    });
    const stacks: StackPorts = {
      snapshot: () => mirror.snapshot(),
      resolveImage: (reference) => this.life.call(5, () => ({ reference, digest: `sha256:${sha256(reference)}` })),
      putStack: (name, revision, modRevision) => records.putStack(name, revision, modRevision),
      history: (stack) => records.history(stack),
      contentId: ({ kind, bytes }) => `${kind}-${sha256(bytes)}`,
      putContents: async (contents) => {
        await records.write(contentTransactions(contents, unsealed, this.#clock.now().wallMs));
      },
      clock: this.#clock,
    };
    this.#core = { epoch: cluster.epoch, mirror, loop, dispatch, stacks };
    note(`leads with epoch ${String(cluster.epoch)}`);
  }

  /** Somebody sets the clock of its machine, or NTP does. */
  stepWallClock(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** An agent's call has arrived. */
  serve(nodeId: string, stream: AgentStream): void {
    this.streams.add(stream);
    const abort = new AbortController();
    stream.onBroken('server', () => {
      this.streams.delete(stream);
      abort.abort(new FrotaError('cancelled', 'the caller is gone'));
    });
    stream.accept();
    this.#serveOne(nodeId, stream, abort.signal).catch((error: unknown) => {
      // What the handler throws ends the call; the caller sees its code, as over the wire.
      if (this.life.alive) stream.finish('server', FrotaError.from(error));
    });
  }

  async #serveOne(nodeId: string, stream: AgentStream, signal: AbortSignal): Promise<void> {
    const core = this.#core;
    if (core === undefined) throw new FrotaError('unavailable', 'the controller is starting');
    const replies = core.dispatch.serve(nodeId, stream.server.messages, signal)[Symbol.asyncIterator]();
    const left = new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        reject(FrotaError.from(signal.reason, 'cancelled'));
      });
    });
    left.catch(() => undefined);
    try {
      for (;;) {
        const next = await Promise.race([replies.next(), left]);
        if (next.done === true) break;
        await stream.server.send(next.value);
      }
      if (this.life.alive) stream.finish('server');
    } finally {
      replies.return?.().then(undefined, () => undefined);
    }
  }

  /** As SIGKILL. Its host lives, so that whoever talks to it is told soon, where there is a way. */
  kill(): void {
    if (!this.life.alive) return;
    this.life.end();
    for (const stream of [...this.streams]) stream.finish('server', new FrotaError('unavailable', 'connection reset'));
    // Nothing of this reaches the world any more; it ends what would otherwise wait for ever.
    void this.#core?.loop.close();
    void this.#core?.mirror.close();
  }
}
