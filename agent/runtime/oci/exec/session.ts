/**
 * What a command in a container has started, and its end. The runtime makes each command the leader of a session, so its
 * children are found by that also when their parents are dead; while the leader lives, by descent too.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { cgroupPids, type CgroupLayout } from '../../../host/cgroups.ts';
import { readStat, type ProcessStat } from '../../../host/processes.ts';

export interface ContainerPlace {
  readonly layout: CgroupLayout;
  readonly cgroupPath: string;
}

/** Each round ends one generation; the container's own limit of processes ends a fork bomb sooner. */
const maxKillRounds = 50;
/** A killed process is gone within a millisecond or two. */
const killPollMs = 5;

/** Kills the processes that came of `leader`, itself too; false if some would not end. */
export async function killTree(leader: number, place: ContainerPlace): Promise<boolean> {
  return killAll(place, (stats) => treeOf(leader, stats));
}

/** Kills what a leader that has ended has left in its session; false if some would not end. */
export async function killSession(leader: number, place: ContainerPlace): Promise<boolean> {
  return killAll(place, (stats) => [...stats].filter(([, stat]) => stat.session === leader).map(([pid]) => pid));
}

/**
 * Leaders of commands whose client is dead or not ours to know: in the container's cgroup, but of a parent outside of
 * it. The container's own first process is the one other of that kind.
 */
export async function findLeaders(own: number, place: ContainerPlace): Promise<readonly number[]> {
  const stats = await containerStats(place);
  return [...stats].filter(([pid, { parent }]) => pid !== own && !stats.has(parent)).map(([pid]) => pid);
}

async function killAll(
  place: ContainerPlace,
  choose: (stats: ReadonlyMap<number, ProcessStat>) => readonly number[],
): Promise<boolean> {
  for (let round = 0; round < maxKillRounds; round += 1) {
    const pids = choose(await containerStats(place));
    if (pids.length === 0) return true;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself.
      }
    }
    await sleep(killPollMs);
  }
  return false;
}

/** PURE: the leader, its descendants, and its session. */
export function treeOf(leader: number, stats: ReadonlyMap<number, ProcessStat>): readonly number[] {
  const tree = new Set<number>();
  if (stats.has(leader)) tree.add(leader);
  for (const [pid, stat] of stats) if (stat.session === leader) tree.add(pid);
  for (let grown = true; grown;) {
    grown = false;
    for (const [pid, { parent }] of stats) {
      if (tree.has(pid) || !tree.has(parent)) continue;
      tree.add(pid);
      grown = true;
    }
  }
  return [...tree];
}

/** Those that live; zombies have ended. */
async function containerStats({ layout, cgroupPath }: ContainerPlace): Promise<ReadonlyMap<number, ProcessStat>> {
  const stats = new Map<number, ProcessStat>();
  for (const pid of await cgroupPids(layout, cgroupPath)) {
    const stat = await readStat(pid);
    if (stat !== undefined && stat.state !== 'Z' && stat.state !== 'X') stats.set(pid, stat);
  }
  return stats;
}
