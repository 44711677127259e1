import { defineConfig } from 'vitest/config';

/** A cluster test starts processes and containers on two cores; one that takes longer hangs. */
const clusterTimeoutMs = 180_000;
/** Adapters under contract call real programs (nft, runc, tar), each in well under a second. */
const contractTimeoutMs = 60_000;
/** The rule tests start a type checker of their own. */
const unitTimeoutMs = 30_000;

/** Tiers that share kernel state (namespaces, cgroups, nftables) run one file at a time. */
const serial = { pool: 'forks', fileParallelism: false, maxWorkers: 1 } as const;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/{unit,simulation,golden,rules}/**/*.test.ts'],
          exclude: ['**/*.long.test.ts'],
          pool: 'forks',
          testTimeout: unitTimeoutMs,
          hookTimeout: unitTimeoutMs,
        },
      },
      {
        test: {
          name: 'contracts',
          include: ['test/contracts/**/*.test.ts'],
          ...serial,
          testTimeout: contractTimeoutMs,
          hookTimeout: contractTimeoutMs,
        },
      },
      {
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          exclude: ['**/*.long.test.ts'],
          ...serial,
          testTimeout: clusterTimeoutMs,
          hookTimeout: clusterTimeoutMs,
        },
      },
      {
        test: {
          name: 'bench',
          include: ['test/bench/**/*.run.ts'],
          ...serial,
          testTimeout: 10 * clusterTimeoutMs,
          hookTimeout: clusterTimeoutMs,
        },
      },
      {
        test: {
          name: 'long',
          include: ['test/**/*.long.test.ts'],
          ...serial,
          testTimeout: 10 * clusterTimeoutMs,
          hookTimeout: clusterTimeoutMs,
        },
      },
    ],
  },
});
