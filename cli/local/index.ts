/** A whole cluster on one machine: `clusterUp` and `clusterDown` are all the rest of the CLI sees. */
export { clusterDown } from './down.ts';
export { clusterUp } from './up.ts';
export type {
  Change,
  ContextEntry,
  Contexts,
  ControlClient,
  DownOptions,
  DownResult,
  LocalPorts,
  UpNode,
  UpOptions,
  UpResult,
} from './ports.ts';
