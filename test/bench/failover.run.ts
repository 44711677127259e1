/**
 * From a fault to the last replacement answering, under an open-loop load of new connections to the nodes that are spared; and what
 * the history says of each phase. Four nodes, six replicas, image present, no health check, power cut as in the failure tests.
 * Then the same of Docker Swarm, where docker.io is installed: with its defaults, and tuned. One after the other, never at a time.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { comparison } from './peers/comparison.ts';
import type { Column, Fault } from './peers/comparison.ts';
import { missingForDocker } from './peers/docker-nodes.ts';
import { startFrota } from './peers/frota.ts';
import type { Frota, ToldLoss } from './peers/frota.ts';
import { perSecond } from './peers/loss.ts';
import type { Loss } from './peers/loss.ts';
import { defaults, startSwarm, tuned } from './peers/swarm.ts';
import type { Swarm } from './peers/swarm.ts';
import { report } from './samples.ts';

const rounds = Number(process.env['ROUNDS'] ?? '10');
/** Of each fault with each tuning; 0: Swarm is left alone. */
const swarmRounds = Number(process.env['SWARM_ROUNDS'] ?? '5');
const missing = await missingForDocker();
const columns: Column[] = [];

afterAll(() => {
  process.stdout.write(`\nmedians; in brackets the worst; × of Frota's median\n\n${comparison(columns, 'Frota')}\n`);
});

/** As many rounds as asked for. What was measured is told though a later round fails. */
async function measure<T extends Loss>(
  contender: string,
  fault: Fault,
  count: number,
  once: (round: number) => Promise<T>,
): Promise<readonly T[]> {
  const losses: T[] = [];
  columns.push({ contender, fault, losses });
  for (let round = 0; round < count; round += 1) {
    const loss = await once(round);
    losses.push(loss);
    const { answeringMs, lastFailureMs, failed, sent } = loss;
    const times = `answering ${answeringMs.toFixed(0)} ms, last failure ${lastFailureMs.toFixed(0)} ms`;
    process.stdout.write(`${contender}, ${fault} ${String(round + 1)}/${String(count)}: ${times}, ${String(failed)} of ${String(sent)} failed\n`); // prettier-ignore
    expect(answeringMs).toBeLessThan(Infinity);
  }
  return losses;
}

const phases = ['suspected', 'confirmed', 'planned', 'committed', 'received', 'created', 'running', 'inForce'] as const;

function tell(fault: Fault, losses: readonly ToldLoss[]): void {
  report(`${fault} → last replacement answering`, losses.map(({ answeringMs }) => answeringMs)); // prettier-ignore
  report(`${fault} → last failed request over`, losses.map(({ lastFailureMs }) => lastFailureMs)); // prettier-ignore
  report(`${fault}: failed requests of ${String(perSecond)}/s`, losses.map(({ failed }) => failed), 0, ''); // prettier-ignore
  const recoveries = losses.flatMap(({ recoveries }) => recoveries);
  expect(recoveries.length).toBeGreaterThan(0);
  for (const phase of phases) {
    const moments = recoveries.flatMap((moments) => moments[phase] ?? []);
    if (moments.length > 0) report(`  ${phase}, since the last sign of life`, moments);
  }
}

describe.skipIf(rounds === 0)('Frota', () => {
  let frota: Frota | undefined;
  beforeAll(async () => {
    frota = await startFrota();
  });
  afterAll(() => frota?.close());

  it('node loss', { timeout: rounds * 60_000 }, async () => {
    tell('node loss', await measure('Frota', 'node loss', rounds, async (round) => frota!.loseNode(round)));
  });

  it('container killed', { timeout: rounds * 60_000 }, async () => {
    const losses = await measure('Frota', 'container killed', rounds, async (round) => frota!.killContainer(round));
    tell('container killed', losses);
  });
});

const why =
  missing === undefined
    ? 'SWARM_ROUNDS=0'
    : `${missing} is missing: apt-get install --no-install-recommends docker.io iptables`;
const skipsSwarm = missing !== undefined || swarmRounds === 0;

describe.skipIf(skipsSwarm)(`Docker Swarm${skipsSwarm ? `: not measured, ${why}` : ''}`, () => {
  let swarm: Swarm | undefined;
  beforeAll(async () => {
    swarm = await startSwarm();
  });
  afterAll(() => swarm?.close());

  const kinds = [
    { contender: 'Swarm, default', tuning: defaults },
    { contender: 'Swarm, tuned', tuning: tuned },
  ];
  describe.each(kinds)('$contender', ({ contender, tuning }) => {
    beforeAll(() => swarm!.tune(tuning));

    it('node loss', { timeout: swarmRounds * 180_000 }, async () => {
      await measure(contender, 'node loss', swarmRounds, async (round) => swarm!.loseNode(round));
    });

    it('container killed', { timeout: swarmRounds * 120_000 }, async () => {
      await measure(contender, 'container killed', swarmRounds, async (round) => swarm!.killContainer(round));
    });
  });
});

if (skipsSwarm) process.stdout.write(`Docker Swarm is not measured: ${why}\n`);
