/**
 * Nodes as a tree: by the value of the first attribute to spread over, within that by the second, and so on (Swarm's placement
 * preferences). The next task goes down the tree, each time into the group with the fewest tasks of the service. Nodes
 * without a value form a group of their own.
 */
import { readerOf } from './attributes.ts';
import type { AttributeReader } from './attributes.ts';
import { Heap } from './heap.ts';
import type { Room } from './rooms.ts';
import { bySpread } from './scores/spread.ts';

/** A node that can take a task, with the tasks of the service that it has. */
export interface Candidate {
  readonly room: Room;
  own: number;
  /** It has the service's image already, though it may have no task of it. */
  readonly hasImage: boolean;
}

export type Group = GroupOfNodes | GroupOfGroups;

/** A `Heap`, or what looks like one to those who take from it. */
export interface Ranked<T> {
  readonly top: T | undefined;
  sink(): void;
  drop(): void;
}

interface GroupOfNodes {
  readonly kind: 'nodes';
  /** Of the service, on all nodes of the group, those that are no candidates too. */
  tasks: number;
  readonly members: Ranked<Candidate>;
}

interface GroupOfGroups {
  readonly kind: 'groups';
  tasks: number;
  readonly members: Ranked<Group>;
}

/** `others`: nodes with tasks of the service that can take no more. */
export function groupNodes(
  candidates: readonly Candidate[],
  others: readonly Candidate[],
  spread: readonly string[],
): Group {
  return groupOf({ candidates, others }, spread.map(readerOf));
}

interface Members {
  readonly candidates: readonly Candidate[];
  readonly others: readonly Candidate[];
}

function groupOf({ candidates, others }: Members, levels: readonly (AttributeReader | undefined)[]): Group {
  const tasks = sumOf(candidates) + sumOf(others);
  const [read, ...rest] = levels;
  if (levels.length === 0) return { kind: 'nodes', tasks, members: new Heap([...candidates], byRank) };
  const parts = new Map<string, { candidates: Candidate[]; others: Candidate[] }>();
  for (const [kind, list] of [
    ['candidates', candidates],
    ['others', others],
  ] as const) {
    for (const candidate of list) {
      const value = read?.(candidate.room.node, candidate.room.facts) ?? '';
      const part = parts.get(value);
      if (part !== undefined) part[kind].push(candidate);
      else parts.set(value, { candidates: [], others: [], [kind]: [candidate] });
    }
  }
  const groups = [...parts.values()].filter((part) => part.candidates.length > 0).map((part) => groupOf(part, rest));
  return { kind: 'groups', tasks, members: new Heap(groups, byTasks) };
}

const sumOf = (list: readonly Candidate[]): number => list.reduce((sum, { own }) => sum + own, 0);

export const byRank = (a: Candidate, b: Candidate): number =>
  a.own - b.own || Number(b.hasImage) - Number(a.hasImage) || bySpread(a.room, b.room);

/** Of groups with equally many tasks, the one with the better node. */
export function byTasks(a: Group, b: Group): number {
  if (a.tasks !== b.tasks) return a.tasks - b.tasks;
  const [bestOfA, bestOfB] = [bestOf(a), bestOf(b)];
  return bestOfA === undefined || bestOfB === undefined ? 0 : byRank(bestOfA, bestOfB);
}

function bestOf(group: Group): Candidate | undefined {
  if (group.kind === 'nodes') return group.members.top;
  const next = group.members.top;
  return next === undefined ? undefined : bestOf(next);
}

/** `use` puts a task on the next candidate and says whether it can take another. @returns false: there is none left. */
export function takeNext(group: Group, use: (room: Room) => boolean): boolean {
  const remains = group.kind === 'nodes' ? takeNode(group, use) : takeFromGroup(group, use);
  if (remains === undefined) return false;
  group.tasks += 1;
  if (remains) group.members.sink();
  else group.members.drop();
  return true;
}

function takeNode({ members }: GroupOfNodes, use: (room: Room) => boolean): boolean | undefined {
  const next = members.top;
  if (next === undefined) return undefined;
  next.own += 1;
  return use(next.room);
}

function takeFromGroup({ members }: GroupOfGroups, use: (room: Room) => boolean): boolean | undefined {
  const next = members.top;
  if (next === undefined || !takeNext(next, use)) return undefined;
  return next.members.top !== undefined;
}
