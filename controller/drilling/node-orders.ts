/** Orders to agents that may be away just now: asked again until they answer, or time is up. */
import { FrotaError } from '../../proto/base/errors.ts';
import { pause } from '../../proto/base/pause.ts';
import type { DrillAnswer, DrillOrder } from '../../proto/domain/drill-orders.ts';
import type { Drill, FaultState, ProbeTally } from '../../proto/domain/drill.ts';
import type { DrillingPorts } from './ports.ts';

/** Where the session is half dead an order is never answered. */
const tryForMs = 2_000;
const retryMs = 100;

/** @throws FrotaError `internal` for an answer to another order. */
export function answerOf<K extends DrillAnswer['kind']>(kind: K, answer: DrillAnswer): DrillAnswer & { kind: K } {
  if (answer.kind !== kind) throw new FrotaError('internal', `an agent answered "${answer.kind}" instead of "${kind}"`);
  return answer as DrillAnswer & { kind: K };
}

/** Whether an agent answers for the node that is not `before`. */
export async function isAgentBack(
  ports: DrillingPorts,
  { nodeId, drillId, before }: { nodeId: string; drillId: string; before: string | undefined },
  signal: AbortSignal,
): Promise<boolean> {
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(tryForMs)]);
  const answer = await ports.order(nodeId, { kind: 'ask', drillId }, bounded).catch(() => undefined);
  return answer?.kind === 'state' && answer.state.agentId !== before;
}

export class NodeOrders {
  readonly #ports: DrillingPorts;
  readonly #drill: Drill;
  readonly #signal: AbortSignal;

  constructor(ports: DrillingPorts, drill: Drill, signal: AbortSignal) {
    this.#ports = ports;
    this.#drill = drill;
    this.#signal = signal;
  }

  /** Both ways at once: the word over the cut link, and the order over the session where there is one. */
  async undo(withinMs: number): Promise<FaultState | undefined> {
    const { stop, id, plan } = this.#drill;
    const isTold = stop === undefined ? false : await this.#ports.tellStop(stop, id, this.#signal);
    if (plan.node === undefined) return isTold ? undoneBy('stop') : undefined;
    const order: DrillOrder = { kind: isTold ? 'ask' : 'undo', drillId: id };
    const answer = await this.#untilAnswered(plan.node.id, order, withinMs, (each) =>
      each.kind === 'state' && each.state.undone ? each.state : undefined,
    );
    return answer ?? (isTold ? undoneBy('stop') : undefined);
  }

  /** Undefined where the witness can't be asked, or does not know any more. */
  async tally(withinMs: number): Promise<ProbeTally | undefined> {
    const { probe } = this.#drill.plan;
    if (probe === undefined || this.#drill.probedAtMs === undefined) return undefined;
    const order: DrillOrder = { kind: 'count', drillId: this.#drill.id, end: true };
    return this.#untilAnswered(probe.witness.id, order, withinMs, (each) =>
      each.kind === 'tally' ? each.tally : undefined,
    );
  }

  /** The hurt node's heartbeats are heard again: the next drill finds a cluster that is well. */
  async untilHeard(withinMs: number): Promise<void> {
    const { node } = this.#drill.plan;
    if (node === undefined) return;
    for (let waitedMs = 0; waitedMs < withinMs && !this.#signal.aborted; waitedMs += retryMs) {
      if (this.#ports.liveness().get(node.id)?.state === 'ready') return;
      await pause(retryMs, this.#signal);
    }
  }

  async #untilAnswered<T>(
    nodeId: string,
    order: DrillOrder,
    withinMs: number,
    take: (answer: DrillAnswer) => T | undefined,
  ): Promise<T | undefined> {
    const over = AbortSignal.any([this.#signal, AbortSignal.timeout(withinMs)]);
    while (!over.aborted) {
      const bounded = AbortSignal.any([over, AbortSignal.timeout(order.kind === 'undo' ? withinMs : tryForMs)]);
      const answer = await this.#ports.order(nodeId, order, bounded).catch((error: unknown) => {
        // It has answered, and what it says does not change by asking again.
        return FrotaError.from(error).code === 'not-found' ? ('unknown' as const) : undefined;
      });
      if (answer === 'unknown') return undefined;
      const taken = answer === undefined ? undefined : take(answer);
      if (taken !== undefined) return taken;
      await pause(retryMs, over);
    }
    return undefined;
  }
}

const undoneBy = (by: string): FaultState => ({
  agentId: '',
  injected: true,
  undone: true,
  undoneBy: by,
  problems: [],
});
