/** Which services a node is told of is found by an index; it must be what asking of every service gives, in the same order. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { needsService, unitsOf, unitsOfNode } from '../../../controller/dispatch/units.ts';
import { serviceId } from '../../../proto/domain/service.ts';
import { aNode, aService, aServiceSpec, aSnapshot, aStack, aTask, aTemplate } from '../../builders/domain.ts';

const networks = fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1 });
const services = fc.array(fc.record({ networks, published: fc.boolean() }), { maxLength: 6 });
const tasks = fc.array(fc.record({ service: fc.nat({ max: 5 }), node: fc.nat({ max: 2 }) }), { maxLength: 8 });

describe('the services of a node', () => {
  it('are those that share a network with its tasks, and those with published ports', () => {
    let told = 0;
    fc.assert(
      fc.property(services, tasks, (drawnServices, drawnTasks) => {
        const specs = drawnServices.map((drawn, index) =>
          aServiceSpec({
            name: `s${String(index)}`,
            template: aTemplate({ networks: drawn.networks.map((network) => ({ network, aliases: [] })) }),
          }),
        );
        const snapshot = aSnapshot({
          nodes: [aNode('n0'), aNode('n1'), aNode('n2')],
          stacks: [aStack('shop', specs)],
          services: drawnServices.map(({ published }, index) =>
            aService({
              name: `s${String(index)}`,
              ports: published ? [{ target: 80, published: 8_000 + index, protocol: 'tcp' }] : [],
            }),
          ),
          tasks: drawnTasks.flatMap(({ service, node }, index) => {
            const spec = specs[service];
            if (spec === undefined) return [];
            const { name, template } = spec;
            return [aTask({ id: `t${String(index)}`, service: name, template, nodeId: `id-n${String(node)}` })];
          }),
        });
        const units = unitsOf(snapshot);
        for (const nodeId of snapshot.nodes.keys()) {
          const expected = [...units.services.values()].filter((service) => needsService(units, nodeId, service));
          const given = unitsOfNode(units, nodeId).flatMap((unit) => (unit.kind === 'service' ? [unit] : []));
          expect(given.map(({ stack, name }) => serviceId(stack, name))).toEqual(
            expected.map(({ stack, name }) => serviceId(stack, name)),
          );
          told += given.length;
        }
      }),
    );
    expect(told).toBeGreaterThan(50);
  });
});
