import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseSubnet } from '../../../agent/network/addresses.ts';
import { isolationRules } from '../../../agent/network/isolation-rules.ts';
import { membershipOf } from '../../../agent/network/membership.ts';
import type { Attachment } from '../../../agent/network/network.ts';
import { noRules, ruleChanges } from '../../../agent/network/rule-changes.ts';
import type { Rules } from '../../../agent/network/rule-changes.ts';
import type { ServiceUnit } from '../../../proto/domain/assignment.ts';

const own = parseSubnet('10.64.1.0/24');
const service = (name: string, networks: readonly string[], addresses: readonly string[]): ServiceUnit => ({
  kind: 'service',
  stack: 's',
  name,
  vip: '10.96.0.1',
  ports: [],
  endpoints: [],
  members: addresses.map((address) => ({ taskId: `t-${address}`, nodeId: 'n', address, slot: 1 })),
  networks: networks.map((network) => ({ network, aliases: [] })),
});
const attachment = (address: string, ...networks: readonly string[]): Attachment => ({
  taskId: `t-${address}`,
  address,
  namespace: '/run/netns/x',
  place: { stack: 's', networks },
});
const rulesOf = (
  services: readonly ServiceUnit[],
  attachments: readonly Attachment[],
  ...internal: readonly string[]
): Rules => isolationRules(membershipOf(services, attachments, own), { internal });
const lines = (text: string): readonly string[] => text.split('\n').filter((line) => line !== '');

describe('membership', () => {
  const services = [
    service('web', ['front', 'back'], ['10.64.1.2', '10.64.2.2']),
    service('db', ['back'], ['10.64.1.3', '10.64.3.3', '10.64.1.9']),
    service('other', ['elsewhere'], ['10.64.4.4']),
  ];

  it('has the networks of this node’s containers, with everybody on them', () => {
    const { networks, known, residents } = membershipOf(services, [attachment('10.64.1.3', 'back')], own);
    expect([...networks]).toEqual([['back', new Set(['10.64.1.3', '10.64.2.2', '10.64.3.3'])]]);
    expect(known).toEqual(new Set(['10.64.1.3', '10.64.2.2', '10.64.3.3', '10.64.4.4']));
    expect([...residents]).toEqual([['10.64.1.3', ['back']]]);
  });

  it('believes what was recorded here before what units say of this node', () => {
    const { residents, networks } = membershipOf(services, [attachment('10.64.1.2', 'front', 'front')], own);
    expect([...residents]).toEqual([['10.64.1.2', ['front']]]);
    expect([...networks.keys()]).toEqual(['front']);
  });

  it('falls back to the units for containers of which nothing was recorded', () => {
    const { place: _none, ...bare } = attachment('10.64.1.2');
    expect([...membershipOf(services, [bare], own).residents]).toEqual([['10.64.1.2', ['back', 'front']]]);
    expect([...membershipOf([], [bare], own).residents]).toEqual([['10.64.1.2', []]]);
  });

  it('takes nothing for an address that is none', () => {
    expect(() => membershipOf([service('x', ['n'], ['1.2.3.4 }'])], [], own)).toThrow(/not an IPv4 address/);
  });
});

describe('the rules of networks', () => {
  it('let a container reach its networks and the world, and be reached by its networks and by strangers', () => {
    const rules = rulesOf([service('web', ['front'], ['10.64.2.2'])], [attachment('10.64.1.2', 'front')]);
    expect(lines(ruleChanges(noRules, rules))).toEqual([
      'add set ip frota net/front { type ipv4_addr; }',
      'add element ip frota net/front { 10.64.1.2, 10.64.2.2 }',
      'add chain ip frota from/front',
      'add rule ip frota from/front ip daddr @net/front accept',
      'add rule ip frota from/front goto elsewhere',
      'add chain ip frota to/front',
      'add rule ip frota to/front ip saddr @net/front accept',
      'add rule ip frota to/front goto strangers',
      'add element ip frota senders { 10.64.1.2 : goto from/front }',
      'add element ip frota receivers { 10.64.1.2 : goto to/front }',
      'add element ip frota members { 10.64.1.2, 10.64.2.2 }',
    ]);
  });

  it('touch one element when one task comes or goes', () => {
    const at = [attachment('10.64.1.2', 'front')];
    const before = rulesOf([service('web', ['front'], ['10.64.2.2'])], at);
    const after = rulesOf([service('web', ['front'], ['10.64.2.2', '10.64.3.3'])], at);
    expect(lines(ruleChanges(before, after))).toEqual([
      'add element ip frota net/front { 10.64.3.3 }',
      'add element ip frota members { 10.64.3.3 }',
    ]);
    expect(lines(ruleChanges(after, before))).toEqual([
      'delete element ip frota net/front { 10.64.3.3 }',
      'delete element ip frota members { 10.64.3.3 }',
    ]);
    expect(ruleChanges(after, rulesOf([service('web', ['front'], ['10.64.3.3', '10.64.2.2'])], at))).toBe('');
  });

  it('go with the last container of a network: first what names the chains, then the chains, then their sets', () => {
    const before = rulesOf([], [attachment('10.64.1.2', 'front')]);
    expect(lines(ruleChanges(before, noRules))).toEqual([
      'delete element ip frota senders { 10.64.1.2 : goto from/front }',
      'delete element ip frota receivers { 10.64.1.2 : goto to/front }',
      'delete element ip frota members { 10.64.1.2 }',
      'flush chain ip frota from/front',
      'delete chain ip frota from/front',
      'flush chain ip frota to/front',
      'delete chain ip frota to/front',
      'delete set ip frota net/front',
    ]);
  });

  it('are shared by containers on the same networks, in whatever order they name them', () => {
    const rules = rulesOf([], [attachment('10.64.1.2', 'b', 'a'), attachment('10.64.1.3', 'a', 'b')]);
    const [from, to] = [...rules.chains.keys()];
    expect([from, to].map((name) => name?.replace(/[0-9a-f]{32}$/, 'HASH'))).toEqual(['from/HASH', 'to/HASH']);
    expect(rules.chains.get(from ?? '')).toEqual([
      'ip daddr @net/a accept',
      'ip daddr @net/b accept',
      'goto elsewhere',
    ]);
    expect(rules.chains.size).toBe(2);
  });

  it('confine who is on internal networks only', () => {
    const at = [attachment('10.64.1.2', 'sealed'), attachment('10.64.1.3', 'front', 'sealed')];
    const rules = rulesOf([], at, 'sealed');
    expect(rules.chains.get('from/sealed')).toEqual(['ip daddr @net/sealed accept', 'goto confinement']);
    expect(rules.elements.get('confined')).toEqual(new Set(['10.64.1.2']));
  });

  it('let nothing through for a container of which no network is known', () => {
    const { place: _none, ...bare } = attachment('10.64.1.2');
    const rules = rulesOf([], [bare], 'sealed');
    expect([...rules.chains.values()]).toEqual([['goto refuse'], ['goto refuse']]);
  });

  it('never let two containers reach each other that share no network, nor keep apart two that do', () => {
    const names = fc.subarray(['a', 'b', 'c'], { minLength: 1 });
    fc.assert(
      fc.property(fc.array(names, { minLength: 2, maxLength: 8 }), (containers) => {
        const at = containers.map((networks, index) => attachment(`10.64.1.${index + 2}`, ...networks));
        const rules = rulesOf([], at);
        const reaches = (from: Attachment, to: Attachment): boolean => {
          const entry = [...(rules.elements.get('senders') ?? [])].find((each) => each.startsWith(`${from.address} :`));
          const chain = rules.chains.get(entry?.split(' goto ')[1] ?? '') ?? [];
          const sets = chain.flatMap((rule) => /^ip daddr @(\S+) accept$/.exec(rule)?.[1] ?? []);
          return sets.some((set) => rules.sets.get(set)?.has(to.address));
        };
        for (const from of at) {
          for (const to of at) {
            const shared = from.place!.networks.some((network) => to.place!.networks.includes(network));
            expect(reaches(from, to)).toBe(shared);
          }
        }
      }),
    );
  });
});
