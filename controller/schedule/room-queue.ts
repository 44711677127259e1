/**
 * Rooms by how much is on them, for many batches in a row: the emptiest first. A room that was reserved in since it was put
 * here has more tasks than its entry says; as a room only ever fills up, it is enough to look when it comes to the top.
 */
import { Heap } from './heap.ts';
import type { Room } from './rooms.ts';

interface Entry {
  readonly room: Room;
  /** As they were when the entry got its place. */
  tasks: number;
  freeShare: number;
}

export class RoomQueue {
  readonly #heap: Heap<Entry>;

  constructor(rooms: readonly Room[]) {
    this.#heap = new Heap(rooms.map(entryOf), byOldSpread);
  }

  /** Takes out the room that comes first by `bySpread`; undefined: there is none left. */
  take(): Room | undefined {
    for (;;) {
      const entry = this.#heap.top;
      if (entry === undefined) return undefined;
      const { room } = entry;
      if (entry.tasks === room.tasks) {
        this.#heap.drop();
        return room;
      }
      entry.tasks = room.tasks;
      entry.freeShare = room.freeShare;
      this.#heap.sink();
    }
  }

  /** Puts back a room that was taken out. */
  put(room: Room): void {
    this.#heap.push(entryOf(room));
  }
}

const entryOf = (room: Room): Entry => ({ room, tasks: room.tasks, freeShare: room.freeShare });

/** `bySpread`, of what the entries say. */
const byOldSpread = (a: Entry, b: Entry): number =>
  a.tasks - b.tasks || b.freeShare - a.freeShare || a.room.order - b.room.order;
