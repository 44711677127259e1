/**
 * The nodes of one pass, sorted once for all batches with the same placement: those that can take such tasks at all, in the
 * groups to spread over, the emptiest first. A batch then costs about what it places, not what there is to choose from.
 */
import { constraintText } from '../../proto/domain/placement.ts';
import { checkOf, readerOf } from './attributes.ts';
import type { AttributeReader } from './attributes.ts';
import { fits, isEligible } from './explain.ts';
import type { Claim } from './filters/filter.ts';
import { byRank, byTasks } from './groups.ts';
import type { Candidate, Group, Ranked } from './groups.ts';
import { Heap } from './heap.ts';
import { RoomQueue } from './room-queue.ts';
import type { Room } from './rooms.ts';

/** Placements that are kept sorted at once: each costs a reference a node, and a cluster has few of them. */
const maxShelves = 64;

/** Eligible nodes of one placement: a queue, or, spread over an attribute, one for each of its values. */
type Shelf =
  | { readonly kind: 'nodes'; readonly queue: RoomQueue }
  | { readonly kind: 'groups'; readonly read: AttributeReader | undefined; readonly parts: ReadonlyMap<string, Shelf> };

export interface Batch {
  readonly claim: Claim;
  readonly spread: readonly string[];
  /** By node id: wanted tasks the service has there. */
  readonly wantedOnNode: ReadonlyMap<string, number>;
  readonly haveImage: ReadonlySet<string>;
}

export interface RoomIndex {
  /** Gives `take` what `groupNodes` would make of all candidates, and has everything back in order when that returns. */
  withGroups(batch: Batch, take: (group: Group) => void): void;
}

export function openRoomIndex(rooms: ReadonlyMap<string, Room>): RoomIndex {
  const shelves = new Map<string, Shelf>();

  function shelfFor({ claim: { constraints }, spread }: Batch): Shelf {
    const key = JSON.stringify([constraints.map(constraintText), spread]);
    const known = shelves.get(key);
    if (known !== undefined) return known;
    if (shelves.size >= maxShelves) shelves.clear();
    const unmet = checkOf(constraints);
    const eligible = [...rooms.values()].filter((room) => isEligible(room, unmet));
    const shelf = shelfOf(eligible, spread.map(readerOf));
    shelves.set(key, shelf);
    return shelf;
  }

  return {
    withGroups: (batch, take) => {
      const opened: LazyMembers[] = [];
      const group = openGroup(shelfFor(batch), batch, ownersOf(rooms, batch), opened);
      if (group !== undefined) take(group);
      for (const members of opened) members.close();
    },
  };
}

function shelfOf(rooms: readonly Room[], levels: readonly (AttributeReader | undefined)[]): Shelf {
  if (levels.length === 0) return { kind: 'nodes', queue: new RoomQueue(rooms) };
  const [read, ...rest] = levels;
  const parts = partsOf(rooms, read, (room) => room);
  return { kind: 'groups', read, parts: new Map([...parts].map(([value, part]) => [value, shelfOf(part, rest)])) };
}

function partsOf<T>(
  list: readonly T[],
  read: AttributeReader | undefined,
  roomOf: (one: T) => Room,
): ReadonlyMap<string, readonly T[]> {
  const parts = new Map<string, T[]>();
  for (const one of list) {
    const { node, facts } = roomOf(one);
    const value = read?.(node, facts) ?? '';
    const part = parts.get(value);
    if (part === undefined) parts.set(value, [one]);
    else part.push(one);
  }
  return parts;
}

/** Nodes that are not all alike to the service: they have a task of it, or its image. */
function ownersOf(
  rooms: ReadonlyMap<string, Room>,
  { wantedOnNode, haveImage }: Pick<Batch, 'wantedOnNode' | 'haveImage'>,
): readonly Candidate[] {
  const owners: Candidate[] = [];
  for (const [id, own] of wantedOnNode) {
    const room = rooms.get(id);
    if (room !== undefined && own > 0) owners.push({ room, own, hasImage: haveImage.has(id) });
  }
  for (const id of haveImage) {
    const room = rooms.get(id);
    if (room !== undefined && (wantedOnNode.get(id) ?? 0) === 0) owners.push({ room, own: 0, hasImage: true });
  }
  return owners;
}

/** Undefined: nothing in it can take a task. */
function openGroup(
  shelf: Shelf,
  { claim }: Pick<Batch, 'claim'>,
  owners: readonly Candidate[],
  opened: LazyMembers[],
): Group | undefined {
  const tasks = owners.reduce((sum, { own }) => sum + own, 0);
  if (shelf.kind === 'nodes') {
    const members = new LazyMembers(shelf.queue, claim, owners);
    opened.push(members);
    return members.top === undefined ? undefined : { kind: 'nodes', tasks, members };
  }
  const parts = partsOf(owners, shelf.read, ({ room }) => room);
  const groups = [...shelf.parts].flatMap(
    ([value, part]) => openGroup(part, { claim }, parts.get(value) ?? [], opened) ?? [],
  );
  return groups.length === 0 ? undefined : { kind: 'groups', tasks, members: new Heap(groups, byTasks) };
}

/** The candidates of one group by rank, as far as somebody looks: owners in a heap of their own, all others as the queue has them. */
class LazyMembers implements Ranked<Candidate> {
  readonly #queue: RoomQueue;
  readonly #claim: Claim;
  readonly #owners: Heap<Candidate>;
  readonly #special: ReadonlySet<Room>;
  /** The first of the others, taken out of the queue. */
  #head: Candidate | undefined;
  readonly #taken: Room[] = [];

  constructor(queue: RoomQueue, claim: Claim, owners: readonly Candidate[]) {
    this.#queue = queue;
    this.#claim = claim;
    this.#special = new Set(owners.map(({ room }) => room));
    const able = owners.filter(({ room }) => isEligible(room, claim.unmet) && fits(room, claim));
    this.#owners = new Heap(able, byRank);
    this.#head = this.#next();
  }

  get top(): Candidate | undefined {
    const owner = this.#owners.top;
    if (this.#head === undefined) return owner;
    return owner !== undefined && byRank(owner, this.#head) < 0 ? owner : this.#head;
  }

  /** What was on top got a task, and may get more. */
  sink(): void {
    this.#settle(true);
  }

  drop(): void {
    this.#settle(false);
  }

  close(): void {
    for (const room of this.#taken) this.#queue.put(room);
  }

  /** A head that has got a task is an owner, with a rank that says nothing of who was on top; it has a task more than any other head could. */
  #settle(stays: boolean): void {
    const head = this.#head;
    if (head === undefined || head.own === 0) {
      if (stays) this.#owners.sink();
      else this.#owners.drop();
      return;
    }
    this.#head = this.#next();
    if (stays) this.#owners.push(head);
  }

  #next(): Candidate | undefined {
    for (;;) {
      const room = this.#queue.take();
      if (room === undefined) return undefined;
      this.#taken.push(room);
      if (!this.#special.has(room) && fits(room, this.#claim)) return { room, own: 0, hasImage: false };
    }
  }
}
