/** The keys of all stored records: built and parsed here and nowhere else. */

export const clusterKey = 'cluster';
export const stackKey = (name: string): string => `stacks/${name}`;
/** `id`: `stack/service`. */
export const serviceKey = (id: string): string => `services/${id}`;
/** Where the volumes of a service are that is gone. `id`: `stack/service`. */
export const keptPinsKey = (id: string): string => `pins/${id}`;
export const taskKey = (id: string): string => `tasks/${id}`;
export const statusKey = (taskId: string): string => `statuses/${taskId}`;
export const nodeKey = (id: string): string => `nodes/${id}`;
export const factsKey = (nodeId: string): string => `facts/${nodeId}`;
/** The history's; read and written by `controller/events` alone, and no part of the snapshot. */
export const eventPrefix = 'events/';
/** Drills; written by `controller/drilling` alone, and no part of the snapshot. */
export const drillPrefix = 'drills/';
export const drillKey = (id: string): string => `${drillPrefix}${id}`;
/** Accepted versions of stacks; no part of the snapshot. */
const historyPrefix = 'history/';
export const historyPrefixOf = (stack: string): string => `${historyPrefix}${stack}/`;
/** Ten digits hold every version, and sort as text. */
export const historyKey = (stack: string, version: number): string =>
  `${historyPrefixOf(stack)}${String(version).padStart(10, '0')}`;
export const tokenKey = (id: string): string => `tokens/${id}`;
export const contentKey = (id: string): string => `contents/${id}`;
/** Contents that are sealed: a content's id begins with its kind. */
export const sealedContentPrefix = 'contents/secret-';
export const registryPrefix = 'registries/';
export const registryKey = (host: string): string => `${registryPrefix}${host}`;
/** Fingerprint of the key that sealed records are written with. */
export const sealingKey = 'sealing';

const kindsByPrefix = {
  stacks: 'stack',
  services: 'service',
  pins: 'keptPins',
  tasks: 'task',
  statuses: 'status',
  nodes: 'node',
  facts: 'facts',
  tokens: 'token',
  contents: 'content',
  registries: 'registry',
} as const;

export type RecordKind = (typeof kindsByPrefix)[keyof typeof kindsByPrefix];

/** `id` is what comes after the first `/`: for services and what is kept of them `stack/service`. */
export type RecordKey = { readonly kind: 'cluster' } | { readonly kind: RecordKind; readonly id: string };

/** Undefined for a key of none of these forms: another version's, perhaps. */
export function parseKey(key: string): RecordKey | undefined {
  if (key === clusterKey) return { kind: 'cluster' };
  const slash = key.indexOf('/');
  const prefix = key.slice(0, slash);
  const id = key.slice(slash + 1);
  if (slash === -1 || id === '' || !isPrefix(prefix)) return undefined;
  return { kind: kindsByPrefix[prefix], id };
}

const isPrefix = (text: string): text is keyof typeof kindsByPrefix => Object.hasOwn(kindsByPrefix, text);
