/** Reservations must fit what is left of the node. Limits are no claim: the node's cgroups enforce them. */
import type { Resources } from '../../../proto/domain/resources.ts';
import type { Room } from '../rooms.ts';
import type { Filter, Refusal } from './filter.ts';

export const capacityFilter: Filter = {
  passes: (room, { reservations }) => hasMemory(room, reservations) && hasCpu(room, reservations),
  explain: (refused, { reservations }) => {
    const memory = refused.filter((room) => !hasMemory(room, reservations));
    const cpu = refused.filter((room) => hasMemory(room, reservations));
    const freeMemory = formatBytes(most(memory, (room) => room.freeMemoryBytes));
    const freeCpu = formatCpu(most(cpu, (room) => room.freeCpuMillis));
    return [
      ...lack(memory.length, 'memory', formatBytes(reservations.memoryBytes), freeMemory),
      ...lack(cpu.length, 'CPU', formatCpu(reservations.cpuMillis), freeCpu),
    ];
  },
};

/** A task that reserves nothing fits everywhere, also on a node that is overcommitted. */
const hasMemory = (room: Room, { memoryBytes }: Resources): boolean =>
  memoryBytes === 0 || room.freeMemoryBytes >= memoryBytes;
const hasCpu = (room: Room, { cpuMillis }: Resources): boolean => cpuMillis === 0 || room.freeCpuMillis >= cpuMillis;

function lack(count: number, what: string, need: string, free: string): readonly Refusal[] {
  const text = `${what} (need ${need}, free ${free})`;
  return count === 0 ? [] : [{ count, one: `lacks ${text}`, many: `lack ${text}` }];
}

/** The largest of what is left, as that is how near the best of them came. */
const most = (rooms: readonly Room[], of: (room: Room) => number): number =>
  rooms.reduce((largest, room) => Math.max(largest, of(room)), 0);

const bytesPerMiB = 1024 ** 2;

/** `512 MiB`, `1.5 GiB`; what is less than one MiB in bytes. */
export function formatBytes(bytes: number): string {
  if (bytes !== 0 && bytes < bytesPerMiB) return `${String(bytes)} B`;
  const miB = bytes / bytesPerMiB;
  return miB >= 1024 ? `${rounded(miB / 1024)} GiB` : `${rounded(miB)} MiB`;
}

/** Thousandths of a core as cores: `0.25`. */
const formatCpu = (millis: number): string => String(millis / 1000);

const rounded = (value: number): string => String(Math.round(value * 10) / 10);
