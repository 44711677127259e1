/**
 * Which service units this node's names, VIPs and ports follow, and what of that the controller has yet to hear: it stops no
 * task before the nodes that led to it have said that they no longer do.
 */
import type { HeldUnit } from '../../proto/codec/dispatch.ts';

export class AppliedUnits {
  /** By key: the revision in force. */
  #inForce: ReadonlyMap<string, string> = new Map();
  /** By key: what the controller of this stream was told. */
  readonly #told = new Map<string, string>();

  /** Complete: what is not in it is no longer served. */
  set(units: readonly HeldUnit[]): void {
    this.#inForce = new Map(units.map(({ key, revision }) => [key, revision]));
  }

  /** The controller waits to hear of this unit from now on, even if what was in force before comes into force again. */
  expect(key: string): void {
    this.#told.delete(key);
  }

  /** A new stream: this controller was told nothing. */
  reset(): void {
    this.#told.clear();
  }

  /** What is to be told next, at most `limit` units; they count as told. */
  takeNews(limit: number): readonly HeldUnit[] {
    const news: HeldUnit[] = [];
    for (const [key, revision] of this.#inForce) {
      if (news.length === limit) break;
      if (this.#told.get(key) === revision) continue;
      this.#told.set(key, revision);
      news.push({ key, revision });
    }
    for (const key of this.#told.keys()) if (!this.#inForce.has(key)) this.#told.delete(key);
    return news;
  }
}
