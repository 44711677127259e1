/** Randomness that can be had again: a test says its seed when it fails, and `FROTA_SEED` replays it. */

/** Of the environment, else a fresh one. */
export const chooseSeed = (): number => Number(process.env['FROTA_SEED'] ?? Math.floor(Math.random() * 2 ** 32));

/** Numbers in [0, 1) that follow from the seed alone (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
