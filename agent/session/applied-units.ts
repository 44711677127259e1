/**
 * Which service units this node's names, VIPs and ports follow, and what of that the controller has yet to hear: it stops no
 * task before the nodes that led to it have said that they no longer do.
 */
import type { AppliedUnit, HeldUnit } from '../../proto/codec/dispatch.ts';
import type { RevisedUnit } from '../../proto/domain/assignment.ts';

/** A service unit as names, VIPs and ports follow it. */
export interface FollowedUnit extends HeldUnit {
  /** What it came as. Revisions are of contents: the same may come again after another, and is in force only when it is made anew. */
  readonly source: RevisedUnit;
}

export class AppliedUnits {
  /** By key: what is in force. */
  #inForce: ReadonlyMap<string, FollowedUnit> = new Map();
  /** By key: the latest that came, until it is in force. What was in force before it says nothing about what is on its way. */
  readonly #awaited = new Map<string, RevisedUnit>();
  /** By key: what the controller of this stream was told. */
  readonly #told = new Map<string, string>();
  /** By key: `AppliedUnit.number` of the latest that came over this stream. */
  readonly #numbers = new Map<string, number>();
  /** Units that came over this stream. */
  #came = 0;

  /** Complete: what is not in it is no longer served. */
  set(units: readonly FollowedUnit[]): void {
    this.#inForce = new Map(units.map((unit) => [unit.key, unit]));
    for (const { key, source } of units) if (this.#awaited.get(key) === source) this.#awaited.delete(key);
  }

  /** The controller waits to hear of this unit from now on, even if what was in force before comes into force again. */
  expect(key: string, source: RevisedUnit): void {
    this.#came += 1;
    this.#numbers.set(key, this.#came);
    this.#told.delete(key);
    this.#awaited.set(key, source);
  }

  /** The node is to have it no longer. */
  forget(key: string): void {
    this.#awaited.delete(key);
    this.#numbers.delete(key);
  }

  /** A new stream: this controller was told nothing. */
  reset(): void {
    this.#told.clear();
    this.#numbers.clear();
    this.#came = 0;
  }

  /** What is to be told next, at most `limit` units; they count as told. */
  takeNews(limit: number): readonly AppliedUnit[] {
    const news: AppliedUnit[] = [];
    for (const [key, { revision }] of this.#inForce) {
      if (news.length === limit) break;
      if (this.#told.get(key) === revision || this.#awaited.has(key)) continue;
      this.#told.set(key, revision);
      news.push({ key, revision, number: this.#numbers.get(key) ?? 0 });
    }
    for (const key of this.#told.keys()) if (!this.#inForce.has(key)) this.#told.delete(key);
    return news;
  }
}
