import { describe, expect, it } from 'vitest';
import { parseSubnet } from '../../../agent/network/addresses.ts';
import { baseTable } from '../../../agent/network/base-rules.ts';
import { replySources } from '../../../agent/network/connections.ts';
import { noRules, ruleChanges } from '../../../agent/network/rule-changes.ts';
import { serviceRules } from '../../../agent/network/service-rules.ts';
import type { ServiceUnit } from '../../../proto/domain/assignment.ts';

const own = parseSubnet('10.64.1.0/24');
const service = (
  name: string,
  vip: string,
  addresses: readonly string[],
  ports: ServiceUnit['ports'] = [],
): ServiceUnit => ({
  kind: 'service',
  stack: 'hello',
  name,
  vip,
  ports,
  endpoints: addresses.map((address) => ({ taskId: `t-${address}`, nodeId: 'n', address, slot: 1 })),
  members: [],
  networks: [],
});
const rules = (...services: readonly ServiceUnit[]) => serviceRules(services, own, { internal: ['sealed'] });
const lines = (text: string): readonly string[] => text.split('\n').filter((line) => line !== '');
const http = [{ target: 80, published: 8080, protocol: 'tcp' }] as const;

describe('the rules of services', () => {
  it('spread connections over the endpoints, whatever their order', () => {
    const expected = [
      'add chain ip frota vip/hello/web',
      'add rule ip frota vip/hello/web dnat to numgen random mod 2 map { 0 : 10.64.1.2, 1 : 10.64.2.2 }',
      'add chain ip frota port/tcp/8080',
      'add rule ip frota port/tcp/8080 meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.64.1.2 . 80, 1 : 10.64.2.2 . 80 }',
      'add element ip frota vips { 10.96.0.1 : goto vip/hello/web }',
      'add element ip frota published { tcp . 8080 : goto port/tcp/8080 }',
      'add element ip frota hairpins { 10.64.1.2 . 10.64.1.2 }',
    ];
    for (const order of [
      ['10.64.1.2', '10.64.2.2'],
      ['10.64.2.2', '10.64.1.2', '10.64.2.2'],
    ]) {
      expect(lines(ruleChanges(noRules, rules(service('web', '10.96.0.1', order, http))))).toEqual(expected);
    }
  });

  it('name a single endpoint plainly, and refuse without any', () => {
    const udp = [{ target: 53, published: 5353, protocol: 'udp' }] as const;
    const text = ruleChanges(
      noRules,
      rules(service('dns', '10.96.0.2', ['10.64.2.9'], udp), service('empty', '10.96.0.3', [], http)),
    );
    expect(text).toContain('add rule ip frota vip/hello/dns dnat to 10.64.2.9\n');
    expect(text).toContain('add rule ip frota port/udp/5353 meta l4proto udp dnat ip to 10.64.2.9:53\n');
    expect(text).toContain('add rule ip frota vip/hello/empty goto refuse\n');
    expect(text).toContain('add rule ip frota port/tcp/8080 goto refuse\n');
    expect(text).not.toContain('hairpins');
  });

  it('touch only the service that changed', () => {
    const other = service('counter', '10.96.0.9', ['10.64.3.3']);
    const before = rules(other, service('web', '10.96.0.1', ['10.64.1.2', '10.64.2.2'], http));
    const after = rules(other, service('web', '10.96.0.1', ['10.64.2.2'], http));
    expect(lines(ruleChanges(before, after))).toEqual([
      'flush chain ip frota vip/hello/web',
      'add rule ip frota vip/hello/web dnat to 10.64.2.2',
      'flush chain ip frota port/tcp/8080',
      'add rule ip frota port/tcp/8080 meta l4proto tcp dnat ip to 10.64.2.2:80',
      'delete element ip frota hairpins { 10.64.1.2 . 10.64.1.2 }',
    ]);
    expect(ruleChanges(after, after)).toBe('');
  });

  it('take a service away: first what names its chains, then the chains', () => {
    const before = rules(service('web', '10.96.0.1', ['10.64.2.2'], http));
    expect(lines(ruleChanges(before, noRules))).toEqual([
      'delete element ip frota vips { 10.96.0.1 : goto vip/hello/web }',
      'delete element ip frota published { tcp . 8080 : goto port/tcp/8080 }',
      'flush chain ip frota vip/hello/web',
      'delete chain ip frota vip/hello/web',
      'flush chain ip frota port/tcp/8080',
      'delete chain ip frota port/tcp/8080',
    ]);
  });

  it('give a port that two services claim to the first, and say so', () => {
    const result = rules(
      service('b', '10.96.0.2', ['10.64.2.2'], http),
      service('a', '10.96.0.1', ['10.64.3.3'], http),
    );
    expect(result.conflicts).toEqual(['port 8080/tcp of hello/b']);
    expect(result.chains.get('port/tcp/8080')).toEqual(['meta l4proto tcp dnat ip to 10.64.3.3:80']);
  });

  it('publish nothing of a service that is on internal networks only', () => {
    const on = (...names: readonly string[]) => names.map((network) => ({ network, aliases: [] }));
    const web = service('web', '10.96.0.1', ['10.64.2.2'], http);
    const sealed = rules({ ...web, networks: on('sealed') });
    expect(sealed.chains.get('port/tcp/8080')).toEqual(['goto refuse']);
    expect(sealed.chains.get('vip/hello/web')).toEqual(['dnat to 10.64.2.2']);
    const open = rules({ ...web, networks: on('sealed', 'front') });
    expect(open.chains.get('port/tcp/8080')).toEqual(['meta l4proto tcp dnat ip to 10.64.2.2:80']);
  });

  it('take nothing into a command that is no address, and no name that nft would not', () => {
    expect(() => rules(service('x', '10.96.0.1 ; }', []))).toThrow(expect.objectContaining({ code: 'invalid' }));
    expect(() => rules(service('x', '10.96.0.1', ['1.2.3.4\nflush ruleset']))).toThrow(/not an IPv4 address/);
    for (const name of ['a b', 'x'.repeat(200), 'ü', '{']) {
      const [vip] = rules(service(name, '10.96.0.1', [])).elements.get('vips') ?? [];
      expect(vip).toMatch(/^10\.96\.0\.1 : goto vip\/[0-9a-f]{32}$/);
    }
  });
});

describe('the table', () => {
  it('is replaced as a whole and names no other', async () => {
    const text = baseTable({ containerPool: '10.64.0.0/12', vipPool: '10.96.0.0/16', nodeSubnet: '10.64.1.0/24' });
    expect(lines(text).slice(0, 3)).toEqual(['add table ip frota', 'delete table ip frota', 'table ip frota {']);
    expect(text.match(/\btable /g)).toHaveLength(3);
    await expect(text).toMatchFileSnapshot('golden/base-table.nft');
  });
});

describe('the listing of connections', () => {
  it('tells who answers each', () => {
    const listing = `ipv4     2 tcp      6 86394 ESTABLISHED src=10.64.0.3 dst=10.96.0.1 sport=5 dport=80 src=10.64.2.2 dst=10.64.0.3 sport=80 dport=5 [ASSURED] mark=0 use=1
ipv4     2 udp      17 29 src=192.168.0.1 dst=192.168.0.2 sport=4 dport=5353 [UNREPLIED] src=10.64.1.7 dst=10.64.0.1 sport=53 dport=4 mark=0 use=1
conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.
`;
    expect(replySources(listing)).toEqual(['10.64.2.2', '10.64.1.7']);
    expect(replySources('')).toEqual([]);
  });
});
