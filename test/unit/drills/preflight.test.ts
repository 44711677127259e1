import { describe, expect, it } from 'vitest';
import { aService, aServiceSpec, aSnapshot, aStack, aTemplate, MiB } from '../../builders/domain.ts';
import { aShop, check, refusalsOf } from './world.ts';
import type { Preflight } from '../../../controller/drills/preflight.ts';

const planOf = (result: ReturnType<typeof check>) => {
  if (result.kind === 'refused') throw new Error(JSON.stringify(result.refusals));
  return result.plan;
};

describe('the pre-flight of a drill', () => {
  it('takes the node with most tasks of the service, and asks those that it spares', () => {
    // Six replicas on four nodes: n1 and n2 have two.
    const plan = planOf(check(aShop(), { slo: 'recovery<2s,errors<1%' }));
    expect(plan.node).toEqual({ id: 'id-n1', name: 'n1' });
    expect(plan.service).toBe('shop/web');
    expect(plan.expected.map(({ slot, node }) => [slot, node])).toEqual([
      [1, 'n1'],
      [5, 'n1'],
    ]);
    expect(plan.probe).toEqual({
      kind: 'http',
      path: '/',
      perSecond: 50,
      targets: ['192.0.2.2:8080', '192.0.2.3:8080', '192.0.2.4:8080'],
      witness: { id: 'id-n2', name: 'n2' },
      containerPort: 80,
    });
    expect(plan.objectives).toHaveLength(2);
    expect(plan.overridden).toEqual([]);
  });

  it('takes the node that is named, by name or id, or any that runs the service', () => {
    expect(planOf(check(aShop(), { node: 'n3' })).node?.name).toBe('n3');
    expect(planOf(check(aShop(), { node: 'id-n3' })).node?.name).toBe('n3');
    expect(planOf(check(aShop(), { random: true }, { draw: 0.999 })).node?.name).toBe('n4');
    // n3 and n4 run nothing.
    expect(planOf(check(aShop({ replicas: 2, nodes: 4 }), { random: true }, { draw: 0.999 })).node?.name).toBe('n2');
  });

  it('takes one task of the node for container-kill, and no node for controller-kill', () => {
    const plan = planOf(check(aShop(), { kind: 'container-kill', node: 'n2' }));
    expect(plan.task).toEqual({ id: 't2', service: 'shop/web', slot: 2, node: 'n2' });
    expect(plan.expected).toEqual([plan.task]);
    expect(plan.probe?.witness.name).toBe('n1');
    const controller = planOf(check(aShop(), { kind: 'controller-kill' }));
    expect([controller.node, controller.expected]).toEqual([undefined, []]);
    expect(controller.probe?.targets).toHaveLength(4);
    // Its containers run on.
    expect(planOf(check(aShop(), { kind: 'agent-kill' })).expected).toEqual([]);
  });

  it('refuses for every reason at once', () => {
    const shop = aShop({ replicas: 1 });
    const result = check(
      shop,
      { node: 'nX', service: 'wev', slo: 'lost' },
      { running: 'd1', states: { 'id-n2': 'down' } },
    );
    expect(refusalsOf(result)).toEqual([
      ['busy', 'drill d1 is not over; see "frota drill show d1"'],
      ['unhealthy', 'node n2 is down'],
      ['unknown', expect.stringContaining('there is no service "wev"; did you mean shop/web') as string],
      ['unknown', 'there is no node "nX"; there are: n1, n2, n3, n4'],
      ['unknown', '--slo, character 5: expected <, <= or = after lost, found nothing'],
    ]);
  });

  it('names the nodes there are in their order, whatever runs on them', () => {
    const shop = aShop();
    const tasks = new Map([...shop.tasks].filter(([, { value }]) => value.nodeId !== 'id-n1'));
    const result = refusalsOf(check({ ...shop, tasks }, { node: 'n9' }));
    expect(result).toContainEqual(['unknown', 'there is no node "n9"; there are: n1, n2, n3, n4']);
  });

  it('refuses a cluster that is not as declared', () => {
    const shop = aShop();
    const statuses = new Map([...shop.statuses].filter(([id]) => id !== 't3'));
    expect(refusalsOf(check({ ...shop, statuses }))).toEqual([
      ['unhealthy', 'stack shop is not as declared yet; see "frota ps shop"'],
    ]);
  });

  it('refuses what would not fit elsewhere, in the words of the plan; force overrides, and the report will say so', () => {
    const template = aTemplate({ reservations: { cpuMillis: 0, memoryBytes: 300 * MiB } });
    const tight = aShop({ template, capacityMiB: 640 });
    const refusals = refusalsOf(check(tight));
    // Two of n1's, and room for one on n3 and one on n4.
    expect(refusals).toEqual([]);
    const tighter = aShop({ template, capacityMiB: 640, nodes: 3 });
    const [first, ...others] = refusalsOf(check(tighter));
    expect(first?.[0]).toBe('does-not-fit');
    expect(first?.[1]).toMatch(/^shop\/web\.1 would not run while n1 is away: .*memory/u);
    expect(others).toHaveLength(1);
    const forced = planOf(check(tighter, { force: true }));
    expect(forced.overridden).toHaveLength(2);
  });

  it('refuses slots whose volume is on the node, for they would only wait', () => {
    const mounts = [{ kind: 'volume', volume: 'data', target: '/data', readOnly: false, copyUp: true }] as const;
    const template = aTemplate({ mounts: mounts as never });
    const refusals = refusalsOf(check(aShop({ template, pinned: true }), { node: 'n3' }));
    expect(refusals).toHaveLength(1);
    expect(refusals[0]?.[0]).toBe('does-not-fit');
    expect(refusals[0]?.[1]).toContain('shop/web.3 would not run while n3 is away');
  });

  it('refuses what is never replaced, and the last replica', () => {
    const none = aShop({ over: { restart: { condition: 'none' } } });
    expect(refusalsOf(check(none, { node: 'n4' }))).toEqual([
      ['does-not-fit', 'shop/web.4 would not run while n4 is away: by its restart policy it is not replaced'],
    ]);
    expect(refusalsOf(check(aShop({ replicas: 1 })))).toEqual([
      ['last-replica', 'node n1 has the last running replica of shop/web: nothing of it answers until it is replaced'],
    ]);
    expect(refusalsOf(check(aShop({ replicas: 1 }), { kind: 'container-kill' }))[0]?.[0]).toBe('last-replica');
    expect(refusalsOf(check(aShop({ replicas: 1 }), { kind: 'agent-kill' }))).toEqual([]);
  });

  it('refuses the only node, a node without the service, errors that nobody can measure', () => {
    expect(refusalsOf(check(aShop({ nodes: 1 }))).map(([kind]) => kind)).toEqual(['nothing-spared', 'last-replica']);
    expect(refusalsOf(check(aShop({ replicas: 2 }), { kind: 'container-kill', node: 'n4' }))).toEqual([
      ['nothing-to-hurt', 'node n4 runs no task of shop/web that could be killed'],
    ]);
    expect(refusalsOf(check(aShop(), { kind: 'controller-kill', node: 'n1' }))[0]?.[0]).toBe('unknown');
    const shop = aShop({ over: { ports: [] } });
    const services = aSnapshot({ services: [aService()] }).services;
    expect(refusalsOf(check({ ...shop, services }, { slo: 'errors<1%' }))).toEqual([
      ['no-probe', "errors can't be measured: shop/web publishes no TCP port; leave them out of --slo"],
    ]);
    expect(planOf(check({ ...shop, services })).probe).toBeUndefined();
  });

  it('holds each kind to its own default, and to errors only where somebody can measure them', () => {
    const texts = (result: Preflight): readonly string[] => planOf(result).objectives.map(({ text }) => text);
    expect(texts(check(aShop(), { kind: 'container-kill' }))).toEqual(['errors<1%', 'lost=0']);
    expect(texts(check(aShop(), { kind: 'node-loss' }))).toEqual(['errors<2%', 'lost=0']);
    expect(texts(check(aShop(), { kind: 'container-kill', slo: 'recovery<3s' }))).toEqual(['recovery<3s']);
    const shop = aShop({ over: { ports: [] } });
    const services = aSnapshot({ services: [aService()] }).services;
    expect(texts(check({ ...shop, services }, { kind: 'container-kill' }))).toEqual(['lost=0']);
  });

  it('knows that slots of fenced services wait for their leases', () => {
    const fenced = aShop({ template: aTemplate({ fenceLeaseMs: 9_000 }) });
    const wait =
      /^shop\/web\.[15] is fenced: it runs elsewhere only when its lease has ended, 7\.3 s to 9\.6 s after the fault$/u;
    const { cautions = [] } = planOf(check(fenced));
    expect(cautions).toHaveLength(2);
    for (const caution of cautions) expect(caution).toMatch(wait);
    expect(planOf(check(fenced, { kind: 'container-kill', slo: 'recovery<2s' })).cautions).toBeUndefined();
    expect(planOf(check(fenced, { slo: 'recovery<12s' })).objectives).toHaveLength(1);
    const tooFast = refusalsOf(check(fenced, { slo: 'recovery<2s' }));
    expect(tooFast.map(([kind]) => kind)).toEqual(['fenced', 'fenced']);
    expect(tooFast[0]?.[1]).toContain("recovery<2s can't be met: shop/web.1 is fenced");
    expect(refusalsOf(check(fenced, { forMs: 5_000 })).map(([kind]) => kind)).toEqual(['fenced', 'fenced']);
    expect(planOf(check(fenced, { slo: 'recovery<2s', force: true })).overridden).toHaveLength(2);
  });

  it('asks which service is meant where several could be', () => {
    const shop = aShop();
    const other = aSnapshot({
      stacks: [
        aStack('blog', [
          aServiceSpec({ name: 'front', replicas: 0, ports: [{ target: 80, published: 81, protocol: 'tcp' }] }),
        ]),
      ],
      services: [aService({ stack: 'blog', name: 'front', ports: [{ target: 80, published: 81, protocol: 'tcp' }] })],
    });
    const both = {
      ...shop,
      stacks: new Map([...shop.stacks, ...other.stacks]),
      services: new Map([...shop.services, ...other.services]),
    };
    expect(refusalsOf(check(both))).toEqual([
      ['unknown', 'say with --service which one is asked: shop/web, blog/front'],
    ]);
    expect(planOf(check(both, { service: 'web' })).service).toBe('shop/web');
  });
});
