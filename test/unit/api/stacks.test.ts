import { describe, expect, it } from 'vitest';
import { joinNode } from '../../../controller/api/join.ts';
import { applyStack } from '../../../controller/api/apply.ts';
import { removeStack, scaleServices } from '../../../controller/api/stacks.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { aNode, aServiceSpec, aSnapshot, aStackSpec, aTemplate } from '../../builders/domain.ts';
import { clock, digest, stacks } from './stack-store.ts';

const signal = new AbortController().signal;

describe('apply', () => {
  it('resolves each image once and stores the whole stack with who and when', async () => {
    const { ports, stored, asked } = stacks();
    const spec = aStackSpec('shop', [aServiceSpec({ name: 'web' }), aServiceSpec({ name: 'api' })]);
    const result = await applyStack(ports, spec, 'ana', signal);
    expect(result).toMatchObject({ version: 1, changed: true, created: ['api', 'web'] });
    expect(asked).toHaveLength(1);
    expect(stored.get('shop')?.value).toMatchObject({ appliedBy: 'ana', appliedAtMs: 5_000 });
    expect(stored.get('shop')?.value.spec.services.map((service) => service.template.image.digest)).toEqual([digest, digest]); // prettier-ignore
  });

  it('asks for no image anew that is to be kept, unless the version before had another', async () => {
    const { ports, asked, stored } = stacks();
    const of = (reference: string) =>
      aStackSpec('shop', [
        aServiceSpec({ pullPolicy: 'missing', template: aTemplate({ image: { reference, digest: '' } }) }),
      ]);
    await applyStack(ports, of('registry.test/web:1'), 'ana', signal);
    expect(await applyStack(ports, of('registry.test/web:1'), 'ana', signal)).toMatchObject({ changed: false });
    expect(asked).toEqual(['registry.test/web:1']);
    await applyStack(ports, of('registry.test/web:2'), 'ana', signal);
    expect(asked).toEqual(['registry.test/web:1', 'registry.test/web:2']);
    expect(stored.get('shop')?.value.spec.services[0]?.template.image.digest).toBe(digest);
  });

  it('says unchanged, updated and removed by service', async () => {
    const { ports } = stacks();
    const two = [aServiceSpec({ name: 'api' }), aServiceSpec({ name: 'web' })];
    await applyStack(ports, aStackSpec('shop', two), 'ana', signal);
    expect(await applyStack(ports, aStackSpec('shop', two), 'ana', signal)).toMatchObject({
      changed: false,
      version: 1,
    });
    const next = aStackSpec('shop', [aServiceSpec({ name: 'web', replicas: 4 })]);
    expect(await applyStack(ports, next, 'ana', signal)).toMatchObject({
      version: 2,
      updated: ['web'],
      removed: ['api'],
    });
  });

  it('accepts nothing when one image cannot be resolved, and names every service that has it', async () => {
    const { ports, stored } = stacks({
      resolveImage: () => Promise.reject(new FrotaError('unavailable', 'registry registry.test does not answer')),
    });
    const spec = aStackSpec('shop', [aServiceSpec({ name: 'api' }), aServiceSpec({ name: 'web' })]);
    const error = await applyStack(ports, spec, 'ana', signal).catch((thrown: unknown) => thrown as FrotaError);
    expect(error).toMatchObject({ code: 'unavailable' });
    expect((error as FrotaError).problems.map((problem) => problem.where)).toEqual(['services.api.image', 'services.web.image']); // prettier-ignore
    expect((error as FrotaError).message).toBe('stack "shop" was not accepted: 2 problems');
    expect(stored.size).toBe(0);
  });

  it('tells the later of two who write the same stack at once', async () => {
    const { ports } = stacks({ putStack: () => Promise.resolve(false) });
    await expect(applyStack(ports, aStackSpec(), 'ana', signal)).rejects.toThrow(/changed by somebody else/);
  });

  it('refuses a port that another stack publishes', async () => {
    const { ports } = stacks();
    const port = { target: 80, published: 8080, protocol: 'tcp' as const };
    await applyStack(ports, aStackSpec('one', [aServiceSpec({ ports: [port] })]), 'ana', signal);
    const second = aStackSpec('two', [aServiceSpec({ ports: [port] })]);
    await expect(applyStack(ports, second, 'ana', signal)).rejects.toThrow(/8080.*one/);
  });
});

describe('scale and remove', () => {
  it('refuses a service that is going, and one that is named twice', async () => {
    const { ports } = stacks();
    await applyStack(ports, aStackSpec(), 'ana', signal);
    const web = { stack: 'shop', service: 'web', replicas: 2 };
    await expect(scaleServices(ports, [{ ...web, service: 'old' }], 'ana')).rejects.toThrow(/no longer declared/);
    await expect(scaleServices(ports, [web, { ...web, replicas: 5 }], 'ana')).rejects.toThrow(/named twice/);
  });

  it('refuses a global service, which has one task on each node', async () => {
    const { ports } = stacks();
    await applyStack(ports, aStackSpec('shop', [aServiceSpec({ mode: 'global' })]), 'ana', signal);
    const request = { stack: 'shop', service: 'web', replicas: 2 };
    await expect(scaleServices(ports, [request], 'ana')).rejects.toThrow(/shop\/web is global, one task on each node/);
  });

  it('changes replicas only, and nothing when they are so already', async () => {
    const { ports, stored } = stacks();
    await applyStack(ports, aStackSpec(), 'ana', signal);
    const template = stored.get('shop')?.value.spec.services[0]?.template;
    const request = { stack: 'shop', service: 'web', replicas: 5 };
    expect(await scaleServices(ports, [request], 'bo')).toEqual([{ ...request, before: 1 }]);
    expect(stored.get('shop')?.value).toMatchObject({ version: 2, appliedBy: 'bo' });
    expect(stored.get('shop')?.value.spec.services[0]?.template).toEqual(template);
    await scaleServices(ports, [request], 'bo');
    expect(stored.get('shop')?.value.version).toBe(2);
  });

  it('says which stacks there are when one is unknown', async () => {
    const { ports } = stacks();
    await applyStack(ports, aStackSpec(), 'ana', signal);
    await expect(removeStack(ports, 'shup')).rejects.toThrow(/no stack "shup"; did you mean shop/);
    expect(await removeStack(ports, 'shop')).toEqual(['web']);
    await expect(removeStack(ports, 'shop')).rejects.toThrow(/there are no stacks/);
  });
});

describe('join', () => {
  const join = (snapshot: Snapshot, state: 'ready' | 'down' | undefined, name = 'n1') =>
    joinNode(
      {
        snapshot: () => snapshot,
        liveness: () => new Map(state === undefined ? [] : [['id-n1', { state, sinceMs: 0 }]]),
        admit: () => Promise.resolve('admitted'),
        newId: () => 'fresh',
        clock,
      },
      'token',
      name,
    );

  it('gives a node the first free subnet', async () => {
    expect(await join(aSnapshot({}), undefined)).toMatchObject({ id: 'fresh', name: 'n1', subnet: '10.64.0.0/24' });
  });

  it('gives a lost machine its name back, never a living one', async () => {
    const there = aSnapshot({ nodes: [aNode('n1')] });
    await expect(join(there, 'ready')).rejects.toThrow(/there is a node "n1" already \(ready\)/);
    expect((await join(there, 'down')).id).toBe('fresh');
  });

  it('waits for a node that this controller has not heard of yet, unless it never said hello', async () => {
    await expect(join(aSnapshot({ nodes: [aNode('n1')] }), undefined)).rejects.toThrow(/try again in a few seconds/);
    expect((await join(aSnapshot({ nodes: [aNode('n1')], facts: [] }), undefined)).id).toBe('fresh');
  });

  it('refuses names that are none', async () => {
    await expect(join(aSnapshot({}), undefined, 'a/b')).rejects.toThrow(/cannot be a node's name/);
  });

  it('gives up, saying so, when nodes keep changing', async () => {
    const ports = {
      snapshot: () => aSnapshot({}),
      liveness: () => new Map(),
      admit: () => Promise.resolve('conflict' as const),
      newId: () => 'fresh',
      clock,
    };
    await expect(joinNode(ports, 'token', 'n1')).rejects.toThrow(/too many machines join at once/);
  });
});
