/** The main thread's side of the probe: starts its thread, tells it what this node serves, reads what it has counted. */
import { Worker } from 'node:worker_threads';
import { FrotaError } from '../../proto/base/errors.ts';
import type { ServiceUnit } from '../../proto/domain/assignment.ts';
import type { DrillOrder } from '../../proto/domain/drill-orders.ts';
import type { ProbeTally } from '../../proto/domain/drill.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { FromProbe, ProbeStart, ToProbe } from './probe-messages.ts';

type ProbeOrder = Extract<DrillOrder, { kind: 'probe' }> & { readonly workerUrl: URL };

export class Probe {
  readonly drillId: string;
  readonly #service: string;
  readonly #worker: Worker;
  #told = '';
  #waiting: { readonly resolve: (tally: ProbeTally) => void; readonly reject: (error: FrotaError) => void }[] = [];
  #last: ProbeTally | undefined;
  #isGone = false;

  /** @throws FrotaError `invalid` for targets that are no host:port; `unavailable` when the thread can't be started. */
  static async begin(order: ProbeOrder): Promise<Probe> {
    const { kind, path, perSecond, containerPort } = order.probe;
    const targets = order.probe.targets.map(hostAndPort);
    const workerData: ProbeStart = { kind, path, perSecond, targets, containerPort, atMostMs: order.atMostMs };
    const worker = new Worker(order.workerUrl, { workerData, name: 'probe' });
    const probe = new Probe(order, worker);
    await probe.#begun();
    return probe;
  }

  private constructor({ drillId, service }: ProbeOrder, worker: Worker) {
    this.drillId = drillId;
    this.#service = service;
    this.#worker = worker;
    worker.on('message', (message: FromProbe) => {
      if (message.kind !== 'tally') return;
      this.#last = message.tally;
      for (const { resolve } of this.#waiting.splice(0)) resolve(message.tally);
    });
    // One that dies takes its numbers with it: whoever asks is told so.
    const gone = (): void => {
      this.#isGone = true;
      for (const { reject } of this.#waiting.splice(0)) reject(threadDied());
    };
    worker.on('error', gone);
    worker.on('exit', gone);
    worker.unref();
  }

  serving(services: readonly ServiceUnit[]): void {
    const unit = services.find(({ stack, name }) => serviceId(stack, name) === this.#service);
    const endpoints = (unit?.endpoints ?? []).map(({ taskId, address }) => ({ taskId, address }));
    const text = JSON.stringify(endpoints);
    if (text === this.#told) return;
    this.#told = text;
    this.#send({ kind: 'serving', endpoints });
  }

  /** With `end` it asks nothing more, waits for what is due, and keeps the result. */
  async count(end: boolean): Promise<ProbeTally> {
    if (this.#isGone) {
      if (this.#last !== undefined) return this.#last;
      throw threadDied();
    }
    const counted = new Promise<ProbeTally>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
    this.#send({ kind: 'count', end });
    return counted;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #send(message: ToProbe): void {
    this.#worker.postMessage(message);
  }

  async #begun(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#worker.once('message', () => resolve());
      this.#worker.once('error', (error) => {
        reject(new FrotaError('unavailable', 'the probe could not be started', { cause: error }));
      });
    });
  }
}

const threadDied = (): FrotaError => new FrotaError('unavailable', 'the thread that asked has died');

function hostAndPort(target: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^:]+)):(\d+)$/u.exec(target) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || port === undefined) throw new FrotaError('invalid', `"${target}" is no host:port`);
  return { host, port: Number(port) };
}
