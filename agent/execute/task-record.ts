/** A task's record as its actor has it in memory and as the journal has it, and when the two may differ. */
import { describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { Journal } from '../state/journal.ts';
import type { TaskEnd } from '../reconcile/task-step.ts';
import type { TaskRecord } from './ports.ts';

export class JournaledRecord {
  readonly #journal: Journal;
  readonly #logger: Logger;
  #record: TaskRecord;
  #endJournaled = true;

  constructor({ journal, logger }: { readonly journal: Journal; readonly logger: Logger }, record: TaskRecord) {
    this.#journal = journal;
    this.#logger = logger;
    this.#record = record;
  }

  get current(): TaskRecord {
    return this.#record;
  }

  /** Durable when it resolves; known here at once, whatever becomes of the disk. */
  async save(change: Partial<TaskRecord>): Promise<void> {
    this.#record = { ...this.#record, ...change };
    await this.#journal.put('tasks', this.#record.assigned.id, this.#record);
  }

  /** For what is as true without a record of it: a full disk is only logged, in the words of `otherwise`. */
  async saveIfPossible(change: Partial<TaskRecord>, otherwise: string): Promise<void> {
    await this.save(change).catch((error: unknown) => {
      this.#logger.error({ taskId: this.#record.assigned.id, error: describeError(error) }, otherwise);
    });
  }

  /** A controller has decided about it. On a full disk it is told as this node's own once more. */
  async settleLocal(): Promise<void> {
    const { local: _settled, ...settled } = this.#record;
    this.#record = settled;
    await this.saveIfPossible({}, 'that a controller knows it is not journaled');
  }

  /** Not yet durable: `saveEnd` is. */
  setEnd(end: TaskEnd): void {
    this.#record = { ...this.#record, end };
    this.#endJournaled = false;
  }

  /** The end is on disk before anything of the task is removed, wherever the disk has room. */
  async saveEnd(): Promise<void> {
    if (this.#endJournaled) return;
    await this.save({});
    this.#endJournaled = true;
  }

  async delete(): Promise<void> {
    await this.#journal.delete('tasks', this.#record.assigned.id);
  }
}
