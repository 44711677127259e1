/**
 * Drills: a fault on purpose, with what is expected of the cluster, an undo that outlives whatever the fault hits, and a
 * report. `Drill` is stored and shown; its field names are part of the public interface.
 */
import { FrotaError } from '../base/errors.ts';
import type { Objective } from './slo.ts';

export const drillKinds = [
  'node-loss', // its link is cut and its containers are killed
  'node-freeze', // its agent and its containers stand still
  'agent-kill', // SIGKILL to its agent; the containers run on
  'container-kill', // SIGKILL to the first process of one task
  'controller-kill', // SIGKILL to the controller
  'partition', // it can't reach the controllers; nodes reach each other
] as const;
export type DrillKind = (typeof drillKinds)[number];

/** Of the probe: a whole answer to a GET that is no error of the server, or an accepted connection. */
export type ProbeKind = 'http' | 'tcp';

export const defaultDrillMs = 30_000;
/** Shorter is over before anything has recovered. */
export const minDrillMs = 2_000;
/** An hour: whoever wants a node away for longer drains it. */
export const maxDrillMs = 60 * 60_000;
export const defaultProbesPerSecond = 50;
/** One thread of one agent asks; above this it would measure itself. */
export const maxProbesPerSecond = 500;
/** A request without an answer for this long has failed. */
export const probeTimeoutMs = 1_000;
/**
 * What a drill without `--slo` is held to. Its errors only where the service is asked. No recovery: how long a start may take is the
 * service's own, by its health check. A node's loss costs what was on its way there, and its share until it is avoided; the others
 * should cost next to nothing.
 */
export const defaultSlos: Readonly<Record<DrillKind, string>> = {
  'node-loss': 'errors<2%,lost=0',
  'node-freeze': 'errors<2%,lost=0',
  'agent-kill': 'errors<0.5%,lost=0',
  'container-kill': 'errors<1%,lost=0',
  'controller-kill': 'errors<0.5%,lost=0',
  partition: 'errors<0.5%,lost=0',
};

/** What a person asks for. Names are as people write them. */
export interface DrillRequest {
  readonly kind: DrillKind;
  readonly node?: string;
  /** Any node that runs the service, instead of the one with most of its tasks. */
  readonly random: boolean;
  readonly service?: string;
  /** Empty: the default of its kind. */
  readonly slo: string;
  readonly forMs: number;
  readonly perSecond: number;
  readonly probe: ProbeKind;
  /** Of an HTTP request. */
  readonly path: string;
  /** Also where tasks would be away for as long as the drill lasts. */
  readonly force: boolean;
}

/** Why a drill is not begun. */
export interface DrillRefusal {
  /** `does-not-fit`, `last-replica` and `fenced` can be overridden with `--force`. */
  readonly kind:
    | 'busy'
    | 'unhealthy'
    | 'unknown'
    | 'nothing-spared'
    | 'nothing-to-hurt'
    | 'no-probe'
    | 'does-not-fit'
    | 'last-replica'
    | 'fenced';
  readonly message: string;
}

export const canOverride = ({ kind }: DrillRefusal): boolean =>
  kind === 'does-not-fit' || kind === 'last-replica' || kind === 'fenced';

export interface NodeRef {
  readonly id: string;
  readonly name: string;
}

/** One task as people know it. */
export interface TaskRef {
  readonly id: string;
  /** `stack/service`. */
  readonly service: string;
  readonly slot: number;
  /** By name. */
  readonly node: string;
}

/** What the probe asks and who asks. */
export interface ProbePlan {
  readonly kind: ProbeKind;
  readonly path: string;
  readonly perSecond: number;
  /** host:port of spared nodes, asked in turn. */
  readonly targets: readonly string[];
  /** The spared node whose agent asks. */
  readonly witness: NodeRef;
  /** The port of the service's containers: its new tasks are asked one by one as well. */
  readonly containerPort: number;
}

/** What was decided before anything was hurt. Writer: `controller/drills/preflight`. */
export interface DrillPlan {
  readonly kind: DrillKind;
  /** Undefined for the controller. */
  readonly node?: NodeRef;
  /** `container-kill` only. */
  readonly task?: TaskRef;
  /** `stack/service`; undefined where no service runs. */
  readonly service?: string;
  readonly objectives: readonly Objective[];
  readonly forMs: number;
  /** Undefined where the service publishes no TCP port. */
  readonly probe?: ProbePlan;
  /** Tasks that the fault is expected to take away. */
  readonly expected: readonly TaskRef[];
  /** Refusals that `--force` has overridden, for people. */
  readonly overridden: readonly string[];
  /** What to bear in mind when the report is read, for people. Absent in records of earlier versions. */
  readonly cautions?: readonly string[];
}

/** It only advances. `probing`: the undo is armed, the service is asked and must answer before anything is hurt. */
export type DrillState = 'arming' | 'probing' | 'fault' | 'undoing' | 'ended';

/** Where the process that undoes the fault hears that it is to do so now. */
export interface StopAddress {
  readonly address: string;
  /** UDP. */
  readonly port: number;
  /** Hex; whoever sends it may stop this drill and nothing else. */
  readonly key: string;
}

/** Stored record. Writer: `controller/drilling`. Times are the controller's wall time. */
export interface Drill {
  readonly id: string;
  /** Common name of the person's certificate. */
  readonly by: string;
  readonly state: DrillState;
  readonly plan: DrillPlan;
  readonly startedAtMs: number;
  readonly probedAtMs?: number;
  readonly faultAtMs?: number;
  readonly endedAtMs?: number;
  readonly stop?: StopAddress;
  /** From the end on. */
  readonly report?: DrillReport;
}

/** `aborted`: it was stopped, or could not be carried through; what was measured says nothing about the objectives. */
export type DrillVerdict = 'passed' | 'failed' | 'aborted';

export interface MeasuredObjective {
  /** As written: `recovery<2s`. */
  readonly objective: string;
  /** Milliseconds, percent or slots; null where there is no such value: something never recovered, nothing was asked. */
  readonly measured: number | null;
  readonly met: boolean;
}

/** Milliseconds after the fault at which the controller knew; null where it never came to that. */
export interface RecoveryPhases {
  /** The node was silent for too long. */
  readonly suspected: number | null;
  /** The node was given up, or was known not to answer; for a killed container: its end was reported. */
  readonly confirmed: number | null;
  /** The new task's record was stored, placed on a node. */
  readonly committed: number | null;
  /** The new node had written it down. */
  readonly received: number | null;
  /** All was there but the process. */
  readonly created: number | null;
  /** Running, and healthy where it has a check. */
  readonly running: number | null;
  /** In the ports and names of the node that asks. */
  readonly endpoint: number | null;
  /** It has answered. */
  readonly answering: number | null;
}

export interface LostTask {
  readonly task: TaskRef;
  readonly replacement: TaskRef | null;
  readonly phasesMs: RecoveryPhases;
}

/** What the witness counted, times in milliseconds since it began to ask. */
export interface ProbeTally {
  readonly ranMs: number;
  readonly sent: number;
  readonly failed: number;
  /** The longest time in which no request was answered. */
  readonly longestGapMs: number;
  readonly firstFailureMs?: number;
  readonly lastFailureMs?: number;
  readonly latencyMs: { readonly median: number; readonly p99: number };
  /** Reason → how many times. */
  readonly failures: Readonly<Record<string, number>>;
  /** Of tasks that came up meanwhile. */
  readonly endpoints: readonly {
    readonly taskId: string;
    readonly inForceMs: number;
    readonly answeredMs?: number;
  }[];
}

/** What one agent says of the fault it was to inject. */
export interface FaultState {
  /** New at each start of the agent. */
  readonly agentId: string;
  readonly injected: boolean;
  readonly undone: boolean;
  /** Which way it was undone: `stop`, `timer`, `agent`. */
  readonly undoneBy?: string;
  readonly problems: readonly string[];
}

export interface DrillReport {
  readonly verdict: DrillVerdict;
  /** Why it was aborted, or what was not met. */
  readonly reason: string | null;
  readonly slo: readonly MeasuredObjective[];
  /** From the fault to the last replacement answering, or to the agent or controller being back; null: never, or nothing was lost. */
  readonly recoveryMs: number | null;
  /** Wanted slots not running at the end. */
  readonly lost: number;
  readonly lostSlots: readonly string[];
  /** Null where nothing was asked. Times are since the fault. */
  readonly probe:
    | (Omit<ProbeTally, 'endpoints' | 'firstFailureMs' | 'lastFailureMs'> & {
        readonly errorsPercent: number;
        readonly firstFailureMs: number | null;
        readonly lastFailureMs: number | null;
      })
    | null;
  readonly tasks: readonly LostTask[];
  readonly undo: { readonly confirmed: boolean; readonly by: string | null };
  /** What a person should know besides. */
  readonly notes: readonly string[];
}

/**
 * What the undoing process of one drill does, and when. Written durably by whoever starts it, before the fault; the next
 * agent of the node reads it, too. The process runs in the same network namespace.
 */
export interface UndoOrder {
  readonly version: 1;
  readonly drillId: string;
  readonly kind: DrillKind;
  readonly bootId: string;
  /** Wall time. */
  readonly dueAtMs: number;
  /** From the order on; a clock that steps never makes it longer. */
  readonly withinMs: number;
  /** Hex. */
  readonly stopKey: string;
  readonly steps: readonly UndoStep[];
}

export type UndoStep =
  /** nftables, family inet. */
  | { readonly kind: 'delete-table'; readonly table: string }
  | { readonly kind: 'thaw'; readonly cgroups: readonly string[] }
  | { readonly kind: 'continue'; readonly pid: number; readonly startTicks: number }
  /** It is started, in the control group of who gave the order, unless a process with these arguments runs by then. */
  | { readonly kind: 'run-again'; readonly program: readonly string[]; readonly cwd: string };

/** Written beside the order once all steps are done. */
export interface UndoOutcome {
  /** `stop`, `timer` or `agent`. */
  readonly by: string;
  readonly atMs: number;
  readonly problems: readonly string[];
}

export const noSuchDrill = (id: string): FrotaError =>
  new FrotaError('not-found', `there is no drill "${id}"; see "frota drill ls"`);
