/** A node's part in drills: takes the controller's orders, one at a time, and hurts nothing before its undo is armed. */
import { randomUUID } from 'node:crypto';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { ServiceUnit } from '../../proto/domain/assignment.ts';
import type { DrillAnswer, DrillOrder } from '../../proto/domain/drill-orders.ts';
import type { DrillKind, FaultState } from '../../proto/domain/drill.ts';
import { readBootId } from '../host/processes.ts';
import { inject, undoSteps } from './faults.ts';
import type { Grounds } from './faults.ts';
import { needsUndo } from './fault-rules.ts';
import type { Drills, ServesListener } from './ports.ts';
import { Probe } from './probe.ts';
import { orderFile, readOrder, readOutcome } from './undo-files.ts';
import { Undoing } from './undoing.ts';

export interface NodeDrillsOptions {
  /** Durable. */
  readonly folder: string;
  /** Starts the process that undoes what the file says that is its last argument. */
  readonly undoProgram: readonly string[];
  readonly probeWorkerUrl: URL;
  readonly grounds: Grounds;
  readonly logger: Logger;
}

/** The answer to the order travels first: a cut link takes no more. Long enough for a busy machine, told to the controller. */
const injectInMs = 100;

interface ArmedFault {
  readonly kind: DrillKind;
  readonly taskId: string | undefined;
  readonly stopPort: number;
  injected: boolean;
  readonly problems: string[];
}

export class NodeDrills implements Drills, ServesListener {
  readonly #options: NodeDrillsOptions;
  readonly #undoing: Undoing;
  readonly #agentId: string = randomUUID();
  readonly #armed = new Map<string, ArmedFault>();
  #probe: Probe | undefined;
  #served: readonly ServiceUnit[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: NodeDrillsOptions) {
    const { folder, undoProgram, logger } = options;
    this.#options = options;
    this.#undoing = new Undoing({ folder, program: undoProgram, logger });
  }

  /** Before anything else is done at the agent's start. */
  resume(): Promise<void> {
    return this.#undoing.resume();
  }

  serving(services: readonly ServiceUnit[]): void {
    this.#served = services;
    this.#probe?.serving(services);
  }

  async take(order: DrillOrder): Promise<DrillAnswer> {
    const { drillId } = order;
    switch (order.kind) {
      case 'arm':
        return this.#arm(order);
      case 'inject':
        return this.#inject(drillId);
      case 'undo':
        await this.#undoing.undo(this.#fileOf(drillId));
        return { kind: 'state', state: await this.#state(drillId) };
      case 'ask':
        return { kind: 'state', state: await this.#state(drillId) };
      case 'probe':
        await this.#probe?.close();
        this.#probe = await Probe.begin({ ...order, workerUrl: this.#options.probeWorkerUrl });
        this.#probe.serving(this.#served);
        return { kind: 'probing' };
      case 'count':
        return { kind: 'tally', tally: await this.#runningProbe(drillId).count(order.end) };
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#undoing.close();
    await this.#probe?.close();
  }

  async #arm({ drillId, fault, taskId, undoWithinMs, stopKey }: DrillOrder & { kind: 'arm' }): Promise<DrillAnswer> {
    const steps = await undoSteps(fault, drillId, this.#options.grounds);
    const armed = await this.#undoing.arm({
      version: 1,
      drillId,
      kind: fault,
      bootId: await readBootId(),
      dueAtMs: Date.now() + undoWithinMs,
      withinMs: undoWithinMs,
      stopKey,
      steps,
    });
    this.#armed.set(drillId, { kind: fault, taskId, stopPort: armed?.port ?? 0, injected: false, problems: [] });
    return { kind: 'armed', agentId: this.#agentId, ...(armed && { stopPort: armed.port }) };
  }

  async #inject(drillId: string): Promise<DrillAnswer> {
    const fault = this.#armed.get(drillId);
    if (fault === undefined || (await readOutcome(this.#fileOf(drillId))) !== undefined) {
      throw new FrotaError('conflict', `drill ${drillId} is not armed on this node`);
    }
    this.#timer = setTimeout(() => {
      fault.injected = true;
      inject(fault.kind, { drillId, ...fault }, this.#options.grounds).catch((error: unknown) => {
        fault.injected = false;
        fault.problems.push(`the fault could not be injected: ${describeError(error)}`);
        this.#options.logger.error({ drill: drillId, error: describeError(error) }, 'a fault could not be injected');
      });
    }, injectInMs);
    this.#options.logger.warn({ drill: drillId, fault: fault.kind }, 'a drill hurts this node');
    return { kind: 'injecting', inMs: injectInMs };
  }

  async #state(drillId: string): Promise<FaultState> {
    const file = this.#fileOf(drillId);
    const [order, outcome] = [await readOrder(file), await readOutcome(file)];
    const fault = this.#armed.get(drillId);
    // An agent that was killed or has restarted in between knows by what is on disk that it was hurt.
    const injected = fault?.injected ?? order !== undefined;
    const nothingToUndo = order === undefined || !needsUndo(order.kind);
    return {
      agentId: this.#agentId,
      injected,
      undone: outcome !== undefined || nothingToUndo,
      ...(outcome && !nothingToUndo && { undoneBy: outcome.by }),
      problems: [...(fault?.problems ?? []), ...(outcome?.problems ?? [])],
    };
  }

  #fileOf(drillId: string): string {
    return orderFile(this.#options.folder, drillId);
  }

  #runningProbe(drillId: string): Probe {
    if (this.#probe?.drillId === drillId) return this.#probe;
    throw new FrotaError('not-found', `this node does not ask for drill ${drillId}: its agent has restarted`);
  }
}
