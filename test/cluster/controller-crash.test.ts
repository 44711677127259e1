/** Crash tests of the controller and its store, in the form that every run has time for. */
import { describe, expect, it } from 'vitest';
import { chooseSeed } from '../builders/seed.ts';
import { killController, killEtcd } from './crash-rounds.ts';

const rounds = 20;
/** All three at once take half a minute on two cores; this is for a machine that is shared. */
const timeoutMs = 300_000;

describe.concurrent('what was acknowledged is there after SIGKILL', { timeout: timeoutMs }, () => {
  it('of the controller, on the embedded store', async () => {
    expect(await killController('embedded', rounds, chooseSeed())).toBeGreaterThan(rounds);
  });

  it('of the controller, on etcd', async () => {
    expect(await killController('etcd', rounds, chooseSeed())).toBeGreaterThan(rounds);
  });

  it('of etcd, under a controller that goes on', async () => {
    expect(await killEtcd(rounds, chooseSeed())).toBeGreaterThan(rounds);
  });
});
