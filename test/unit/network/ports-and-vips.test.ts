import { describe, expect, it } from 'vitest';
import { portConflicts } from '../../../controller/network/port-conflicts.ts';
import { assignPorts, firstChosenPort, lastChosenPort } from '../../../controller/network/published-ports.ts';
import { openVipPool } from '../../../controller/network/vips.ts';
import type { PortSpec } from '../../../proto/domain/service.ts';
import { aService, aServiceSpec, aStackSpec, sha256 } from '../../builders/domain.ts';

const tcp = (target: number, published?: number): PortSpec => ({
  target,
  protocol: 'tcp',
  ...(published === undefined ? {} : { published }),
});

describe('VIPs', () => {
  it('are all given out once, first and last address excepted', () => {
    const pool = openVipPool('10.80.0.0/29', ['10.80.0.3'], sha256);
    const taken = ['a', 'b', 'c', 'd', 'e', 'f'].map((id) => pool.take(id));
    expect(taken.filter((vip) => vip !== undefined).sort()).toEqual([
      '10.80.0.1',
      '10.80.0.2',
      '10.80.0.4',
      '10.80.0.5',
      '10.80.0.6',
    ]);
    expect(taken[5]).toBeUndefined();
  });

  it('are the same for the same name in an empty pool', () => {
    const take = () => openVipPool('10.80.0.0/16', [], sha256).take('shop/web');
    expect(take()).toBe(take());
  });
});

describe('published ports', () => {
  const assign = (...claims: Parameters<typeof assignPorts>[0]) => assignPorts(claims, sha256);

  it('are as declared, or chosen from the range', () => {
    const { ports, problems } = assign({ id: 'shop/web', wanted: [tcp(80, 8080), tcp(81), tcp(81)], held: [] });
    const [fixed, chosen, other] = ports.get('shop/web') ?? [];
    expect(fixed).toEqual({ target: 80, published: 8080, protocol: 'tcp' });
    expect(chosen?.published).toBeGreaterThanOrEqual(firstChosenPort);
    expect(chosen?.published).toBeLessThanOrEqual(lastChosenPort);
    expect(other?.published).not.toBe(chosen?.published);
    expect(problems).toEqual([]);
  });

  it('stay while they are declared, and follow a change', () => {
    const held = [{ target: 80, published: 30_123, protocol: 'tcp' }] as const;
    const published = (wanted: readonly PortSpec[]) =>
      assign({ id: 'a/b', wanted, held })
        .ports.get('a/b')
        ?.map((port) => port.published);
    expect(published([tcp(443, 8443), tcp(80)])).toEqual([8443, 30_123]);
    expect(published([tcp(80, 8080)])).toEqual([8080]);
    expect(published([])).toEqual([]);
    expect(published([tcp(81)])).not.toEqual([30_123]);
    expect(published([tcp(80), tcp(90, 30_123)])?.[1]).toBe(30_123);
  });

  it('of one that is taken is left out, with a problem that names who has it', () => {
    const held = [{ target: 80, published: 8080, protocol: 'tcp' }] as const;
    const { ports, problems } = assign(
      { id: 'blog/web', wanted: [tcp(80, 8080), tcp(81, 81)], held: [] },
      { id: 'shop/web', wanted: [tcp(80, 8080)], held },
    );
    expect(ports.get('blog/web')).toEqual([{ target: 81, published: 81, protocol: 'tcp' }]);
    expect(ports.get('shop/web')).toEqual(held);
    expect(problems).toEqual([
      { where: 'blog/web', message: 'port 8080/tcp is published by shop/web; publish another one' },
    ]);
  });

  it('differ by protocol', () => {
    const udp: PortSpec = { target: 53, published: 53, protocol: 'udp' };
    expect(assign({ id: 'a/b', wanted: [tcp(53, 53), udp], held: [] }).ports.get('a/b')).toHaveLength(2);
  });
});

describe('port conflicts', () => {
  const shop = aStackSpec('shop', [aServiceSpec({ ports: [tcp(80, 8080)] })]);
  const blog = aStackSpec('blog', [aServiceSpec({ name: 'site', ports: [tcp(81), tcp(80, 8080)] })]);

  it('name the other stack’s service', () => {
    expect(portConflicts(blog, [shop])).toEqual([
      {
        where: 'services.site.ports[1]',
        message: 'port 8080/tcp is already published by shop/web; publish another one, or remove that service',
      },
    ]);
  });

  it('are none with the stack itself, with other protocols, or with chosen ports', () => {
    expect(portConflicts(shop, [shop])).toEqual([]);
    const udp = aStackSpec('dns', [aServiceSpec({ ports: [{ target: 80, published: 8080, protocol: 'udp' }] })]);
    expect(portConflicts(udp, [shop, blog])).toEqual([]);
  });

  it('see ports that the cluster chose, given the service records', () => {
    const record = aService({ stack: 'shop', ports: [{ target: 80, published: 30_005, protocol: 'tcp' }] });
    const fixed = aStackSpec('blog', [aServiceSpec({ ports: [tcp(80, 30_005)] })]);
    expect(portConflicts(fixed, [], [record])[0]?.message).toContain('published by shop/web');
  });
});
