/** A map that is copied only when it changes after it was handed out: a pass that changes nothing copies nothing. */
export interface CopyOnWriteMap<V> {
  /** As it is now; what is returned never changes again. */
  share(): ReadonlyMap<string, V>;
  get(key: string): V | undefined;
  has(key: string): boolean;
  keys(): Iterable<string>;
  set(key: string, value: V): void;
  delete(key: string): void;
}

export function createCopyOnWriteMap<V>(): CopyOnWriteMap<V> {
  let map = new Map<string, V>();
  let shared = false;
  const own = (): Map<string, V> => {
    if (shared) map = new Map(map);
    shared = false;
    return map;
  };
  return {
    share: () => {
      shared = true;
      return map;
    },
    get: (key) => map.get(key),
    has: (key) => map.has(key),
    keys: () => [...map.keys()],
    set: (key, value) => {
      if (!map.has(key) || map.get(key) !== value) own().set(key, value);
    },
    delete: (key) => {
      if (map.has(key)) own().delete(key);
    },
  };
}
