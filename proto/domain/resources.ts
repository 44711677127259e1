/** What a node has and a task asks for. CPU in thousandths of a core, memory in bytes. */
export interface Resources {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
}

/** Enforced by the node's cgroups; an absent field is no limit. */
export interface ResourceLimits {
  readonly cpuMillis?: number;
  readonly memoryBytes?: number;
  readonly pids?: number;
}

export const noResources: Resources = { cpuMillis: 0, memoryBytes: 0 };
