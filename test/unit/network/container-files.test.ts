import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { attachScript, namespaceName, namespaceStem } from '../../../agent/network/container-link.ts';
import { renderHosts, writeInPlace } from '../../../agent/network/hosts-file.ts';
import { renderResolvConf, serversIn } from '../../../agent/dns/resolv-conf.ts';

const folder = mkdtempSync(join(tmpdir(), 'frota-unit-network-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('/etc/hosts of a container', () => {
  it('names the container, the services of its stack, and in full those of others', () => {
    const services = [
      { stack: 'hello', name: 'web', vip: '10.96.0.2' },
      { stack: 'hello', name: 'counter', vip: '10.96.0.1' },
      { stack: 'other', name: 'web', vip: '10.96.0.3' },
    ];
    expect(renderHosts({ hostname: 'h7', address: '10.64.0.2', stack: 'hello', services })).toBe(
      [
        '127.0.0.1\tlocalhost',
        '10.64.0.2\th7',
        '10.96.0.1\tcounter hello_counter counter.hello',
        '10.96.0.2\tweb hello_web web.hello',
        '10.96.0.3\tother_web web.other',
        '',
      ].join('\n'),
    );
  });

  it('is rewritten in place, only when it differs, and keeps its length when the text is shorter', async () => {
    const path = join(folder, 'hosts');
    expect(await writeInPlace(path, 'first line\nsecond line\n')).toBe(true);
    const { ino } = statSync(path);
    expect(await writeInPlace(path, 'short\n')).toBe(true);
    expect(readFileSync(path, 'utf8')).toBe(`short\n${'\n'.repeat(17)}`);
    expect(await writeInPlace(path, 'short\n')).toBe(false);
    expect(await writeInPlace(path, 'now it is longer than it was before\n')).toBe(true);
    expect(readFileSync(path, 'utf8')).toBe('now it is longer than it was before\n');
    expect(statSync(path).ino).toBe(ino);
    expect(statSync(path).mode & 0o777).toBe(0o644);
  });

  it('says why it cannot be written', async () => {
    writeFileSync(join(folder, 'file'), '');
    await expect(writeInPlace(join(folder, 'file', 'hosts'), 'x\n')).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('/etc/resolv.conf of a container', () => {
  const own = 'options timeout:1 attempts:5 ndots:0';
  it.each([
    ['nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n', `search lan\n${own} edns0 trust-ad\n`],
    ['# made by hand\nnameserver 9.9.9.9\ndomain example.net\n', `search example.net\n${own}\n`],
    ['search one.example\nsearch two.example  three.example\n', `search two.example three.example\n${own}\n`],
    ['options rotate timeout:9 attempts:1 ndots:3 no-aaaa\n', `${own} no-aaaa\n`],
    ['', `${own}\n`],
  ])('%j → the agent, and %j', (node, expected) => {
    expect(renderResolvConf(node, '10.64.0.1')).toBe(`nameserver 10.64.0.1\n${expected}`);
  });
});

describe('the resolvers of the node', () => {
  it.each([
    [
      ['nameserver 9.9.9.9\nnameserver 1.1.1.1\n', 'nameserver 8.8.8.8\n'],
      ['9.9.9.9', '1.1.1.1'],
    ],
    [['nameserver 127.0.0.53\n', 'nameserver 192.168.1.1\nnameserver fe80::1%eth0\n'], ['127.0.0.53', '192.168.1.1', 'fe80::1%eth0']], // prettier-ignore
    [['nameserver 127.0.0.53\n', ''], ['127.0.0.53']],
    [['nameserver 10.64.0.1\nnameserver ::1\nnameserver nonsense\nnameserver\n', ''], ['::1']],
    [['nameserver 1.0.0.1\nnameserver 1.0.0.1\nnameserver 1.0.0.2\nnameserver 1.0.0.3\nnameserver 1.0.0.4\n'], ['1.0.0.1', '1.0.0.2', '1.0.0.3']], // prettier-ignore
  ])('%j → %j', (texts, expected) => {
    expect(serversIn(texts, '10.64.0.1')).toEqual(expected);
  });
});

describe('the place of a container', () => {
  it('has a name that no other prefix can have, and takes nothing into the script', () => {
    expect(namespaceName(namespaceStem('local-n1'), 'V1StGXR8_Z5')).toBe('frota-local-n1.V1StGXR8_Z5');
    for (const wrong of ['a.b', '', '../x', 'a b', '-x']) expect(() => namespaceStem(wrong)).toThrow(/can't name/);
    for (const wrong of ['', 'a/b', 'a;b', 'a.b', 'x\ny'])
      expect(() => namespaceName('frota-a.', wrong)).toThrow(/task id/);
  });

  it('is made by one script, without what is there already', () => {
    const link = { namespace: 'frota-a.t', address: '10.64.0.2', mtu: 1450 };
    const whole = attachScript(link, { namespace: false, veth: false }, true);
    expect(whole).toContain(
      'link add frv0a400002 address 02:fa:ff:ff:ff:ff mtu 1450 type veth peer name eth0 address 02:fa:0a:40:00:02 mtu 1450 netns frota-a.t\n',
    );
    expect(whole).toContain('route replace 10.64.0.2/32 dev frv0a400002 scope link\n');
    for (const side of ['--orig-src', '--reply-src']) expect(whole).toContain(`conntrack -D ${side} 10.64.0.2 `);
    const half = attachScript(link, { namespace: true, veth: true }, false);
    expect(half).not.toMatch(/netns add|link add|conntrack/);
  });
});
