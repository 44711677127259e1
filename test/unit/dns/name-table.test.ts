import { describe, expect, it } from 'vitest';
import { decide } from '../../../agent/dns/decide.ts';
import type { Decision } from '../../../agent/dns/decide.ts';
import { nameTable } from '../../../agent/dns/name-table.ts';
import type { TaskPlace } from '../../../agent/network/network.ts';
import type { RecordType } from 'dns-packet';
import { inBlog, inProxy, inShop, inShopAndProxy, inVault, network, services } from './fixture.ts';

const table = nameTable(network, services);

function ask(name: string, asker: TaskPlace, type = 'A', turn = 0): string {
  const decision: Decision = decide({ name, question: { name, type: type as RecordType } }, asker, table, turn);
  if (decision.kind === 'addresses') return decision.addresses.join(' ');
  return decision.kind === 'name' ? decision.name : decision.kind;
}

const none = 'no-such-name';

describe('names of services', () => {
  it.each([
    ['web', inShop, '10.96.0.1'],
    ['shop_web', inShop, '10.96.0.1'],
    ['web.shop', inShop, '10.96.0.1'],
    ['db', inShop, '10.96.0.2'],
    // A service's name within its own stack means that service, whatever others have it or go by it.
    ['web', inShopAndProxy, '10.96.0.1'],
    ['web', inBlog, '10.96.0.3'],
    ['db', inShopAndProxy, '10.96.0.2'],
    ['blog_web', inShopAndProxy, '10.96.0.3'],
    ['web.blog', inShopAndProxy, '10.96.0.3'],
    // Elsewhere it means all that have it on a network of the asker.
    ['web', inProxy, '10.96.0.1 10.96.0.3'],
    ['db', inProxy, '10.96.0.3'],
    ['mail.v2', inVault, '10.96.0.4'],
    ['mail.v2.blog', inVault, '10.96.0.4'],
  ])('%s, asked in %j → %s', (name, asker, expected) => {
    expect(ask(name, asker)).toBe(expected);
  });

  it('are known only on networks that both share, and otherwise as if they did not exist', () => {
    for (const name of [
      'blog_web',
      'web.blog',
      'tasks.blog_web',
      'web.blog.1',
      '1.web.blog',
      'blog-web-1',
      'task106444',
    ]) {
      expect(ask(name, inShop), name).toBe(none);
    }
    expect(ask('mail.v2', inShop)).toBe(none);
    expect(ask('db', inBlog)).toBe(none);
  });
});

describe('aliases', () => {
  it.each([
    ['shop.internal', inShop, '10.96.0.1'],
    ['backend', inProxy, '10.96.0.1 10.96.0.3'],
    ['backend', inShopAndProxy, '10.96.0.1 10.96.0.3'],
    // Of one network only: that both share another does not help.
    ['backend', inShop, none],
    ['shop.internal', inProxy, none],
    ['private', inBlog, '10.96.0.3'],
    ['private', inProxy, none],
    ['tasks.backend', inProxy, '10.64.1.2 10.64.2.2 10.64.4.4'],
  ])('%s, asked in %j → %s', (name, asker, expected) => {
    expect(ask(name, asker)).toBe(expected);
  });

  it('take turns', () => {
    expect(ask('backend', inProxy, 'A', 1)).toBe('10.96.0.3 10.96.0.1');
    expect(ask('tasks.web', inShop, 'A', 3)).toBe('10.64.2.2 10.64.1.2');
  });
});

describe('names of tasks', () => {
  it.each([
    ['tasks.web', '10.64.1.2 10.64.2.2'],
    ['tasks.shop_web', '10.64.1.2 10.64.2.2'],
    ['tasks.web.shop', '10.64.1.2 10.64.2.2'],
    ['web.1', '10.64.1.2'],
    ['2.web', '10.64.2.2'],
    ['shop_web.2', '10.64.2.2'],
    ['shop-web-2', '10.64.2.2'],
    ['1.shop_web', '10.64.1.2'],
    // No endpoint yet, or none any more: it has an address all the same.
    ['web.3', '10.64.3.2'],
    ['shop-web-3', '10.64.3.2'],
    ['fresh1', '10.64.3.2'],
    ['db.1', '10.64.1.3'],
    ['web.4', none],
    ['shop-web-4', none],
    ['web-1', none],
  ])('%s → %s', (name, expected) => {
    expect(ask(name, inShop)).toBe(expected);
  });

  it('are without addresses while nothing serves, and gone with their service', () => {
    expect(ask('tasks.db', inShop)).toBe('');
    expect(ask('tasks.gone', inShop)).toBe('forward');
    expect(ask('tasks.gone.shop', inShop)).toBe(none);
  });

  it('prefer, of two tasks in one slot, the one that serves', () => {
    const [first] = services;
    const both = { ...first!, members: [...first!.members, { ...first!.members[0]!, taskId: 'next', address: '10.64.5.5' }] }; // prettier-ignore
    const decision = decide({ name: 'web.1', question: { name: 'web.1', type: 'A' } }, inShop, nameTable(network, [both]), 0); // prettier-ignore
    expect(decision).toEqual({ kind: 'addresses', addresses: ['10.64.1.2'] });
  });
});

describe('addresses', () => {
  const reversed = (address: string): string => `${address.split('.').reverse().join('.')}.in-addr.arpa`;
  it.each([
    ['10.64.1.2', inShop, 'shop-web-1'],
    ['10.64.3.2', inShop, 'shop-web-3'],
    ['10.96.0.1', inShop, 'shop_web'],
    ['10.64.4.4', inShop, none],
    ['10.64.4.4', inProxy, 'blog-web-1'],
    ['10.64.99.99', inShop, none],
    ['10.96.200.1', inShop, none],
    ['192.0.2.1', inShop, 'forward'],
    ['192.0.2.1', inVault, none],
  ])('%s, asked in %j → %s', (address, asker, expected) => {
    expect(ask(reversed(address), asker, 'PTR')).toBe(expected);
  });

  it('that are none are names of the world', () => {
    expect(ask('1.2.3.in-addr.arpa', inShop, 'PTR')).toBe('forward');
    expect(ask('1.2.3.400.in-addr.arpa', inShop, 'PTR')).toBe('forward');
  });
});

describe('other types', () => {
  it('exist, and there is nothing of them', () => {
    for (const type of ['AAAA', 'MX', 'TXT', 'SRV', 'UNKNOWN_65', 'PTR']) {
      expect(ask('web', inShop, type), type).toBe('nothing');
      expect(ask('nobody', inShop, type), type).toBe(none);
    }
    expect(ask('2.1.64.10.in-addr.arpa', inShop, 'A')).toBe('nothing');
    expect(ask('web', inShop, 'ANY')).toBe('10.96.0.1');
    expect(ask('web', inShop, 'AXFR')).toBe('refusal');
    expect(ask('example.org', inShop, 'IXFR')).toBe('refusal');
  });
});

describe('names that are not known', () => {
  it.each([
    ['example.org', 'forward'],
    ['a.b.c.example.org', 'forward'],
    ['', 'forward'],
    ['nobody', none],
    ['nobody.shop', none],
    ['a.b.shop', none],
    ['10.0.0.1', none],
    // A stack that this container can't see may be called like a domain of the world.
    ['nobody.blog', 'forward'],
  ])('%j → %s', (name, expected) => {
    expect(ask(name, inShop)).toBe(expected);
  });

  it('never leave by a container that has no way out', () => {
    expect(ask('secret-42.example.org', inVault)).toBe(none);
    expect(ask('secret-42.example.org', inBlog)).toBe('forward');
  });

  it('are all there is for a container of which no network is known', () => {
    const nowhere = { stack: '', networks: [] };
    for (const name of ['web', 'shop_web', 'tasks.web', 'web.1', 'task10641']) expect(ask(name, nowhere)).toBe(none);
  });
});
