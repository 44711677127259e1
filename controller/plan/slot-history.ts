/** Ended tasks of each slot that are kept: enough to see a pattern in `frota ps --all`; Swarm's default is 5 with the running one. */
export const endedTasksKeptPerSlot = 4;
