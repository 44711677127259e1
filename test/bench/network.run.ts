/** What 1,000 services cost a node's rules: all at once, one endpoint changed, one container attached. */
import { afterAll, beforeAll, it } from 'vitest';
import type { Endpoint, ServiceUnit } from '../../proto/domain/assignment.ts';
import { TestNetwork, inside } from '../contracts/network/test-nodes.ts';
import type { TestNode } from '../contracts/network/test-nodes.ts';

const serviceCount = 1_000;
const rounds = Number(process.env['ROUNDS'] ?? '11');

const net = new TestNetwork();
const [a] = net.nodes as [TestNode];

beforeAll(() => net.start());
afterAll(() => net.stop());

/** `networkOf`: which network a service is on. `without`: of the first service the last endpoint is gone. */
function services(networkOf: (index: number) => string, without: boolean): readonly ServiceUnit[] {
  return Array.from({ length: serviceCount }, (_, index) => {
    const count = index === 0 && without ? 2 : 3;
    const endpoints = Array.from({ length: count }, (_none, slot): Endpoint => {
      const number = 3 * index + slot;
      const address = `10.65.${Math.floor(number / 250)}.${(number % 250) + 2}`;
      return { taskId: `t${number}`, nodeId: 'id-b', address, slot: slot + 1 };
    });
    return {
      kind: 'service',
      stack: `stack${Math.floor(index / 10)}`,
      name: `service${index}`,
      vip: `10.96.${Math.floor(index / 250)}.${(index % 250) + 1}`,
      ports: index % 10 === 0 ? [{ target: 80, published: 20_000 + index, protocol: 'tcp' }] : [],
      endpoints,
      members: endpoints,
      networks: [{ network: networkOf(index), aliases: [] }],
    };
  });
}

function report(what: string, samples: readonly number[]): void {
  const sorted = [...samples].sort((x, y) => x - y);
  const median = sorted[Math.floor(sorted.length / 2)] ?? NaN;
  const minimum = sorted[0] ?? NaN;
  process.stdout.write(`${what}: median ${median.toFixed(0)} ms, minimum ${minimum.toFixed(0)} ms (${samples.length} rounds)\n`); // prettier-ignore
}

const apply = async (units: readonly ServiceUnit[]): Promise<number> =>
  (await a.call('apply', { network: net.unit(), services: units })).ms ?? NaN;

it.each([
  ['one network', () => 'everybody'],
  ['a network for every ten', (index: number) => `stack${Math.floor(index / 10)}_default`],
] as const)(`${serviceCount} services of 3, %s`, async (what, networkOf) => {
  await a.attach('one', networkOf(0));
  await a.attach('two', networkOf(999));
  const before = services(networkOf, false);
  const after = services(networkOf, true);
  const full: number[] = [];
  for (let round = 0; round < Math.ceil(rounds / 3); round += 1) {
    await inside(a.namespace, 'nft', 'delete', 'table', 'ip', 'frota');
    await a.kill();
    await a.start();
    full.push(await apply(before));
  }
  report(`${what}, all at once`, full);
  const changed: number[] = [];
  const same: number[] = [];
  const attached: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    changed.push(await apply(round % 2 === 0 ? after : before));
    same.push(await apply(round % 2 === 0 ? after : before));
    attached.push((await a.timedAttach(`m${round}`, networkOf(0))).ms ?? NaN);
  }
  report(`${what}, one endpoint changed`, changed);
  report(`${what}, nothing changed`, same);
  report(`${what}, a container attached`, attached);
  await a.call('close', { removeAll: true });
  await a.kill();
  await a.start();
});
