/** The crash tests with ten times the rounds. */
import { describe, expect, it } from 'vitest';
import { chooseSeed } from '../builders/seed.ts';
import { killController, killEtcd } from './crash-rounds.ts';

const rounds = 200;

describe('what was acknowledged is there after many SIGKILLs', () => {
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
