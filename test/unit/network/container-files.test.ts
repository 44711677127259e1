import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { attachScript, namespaceName, namespaceStem } from '../../../agent/network/container-link.ts';
import { renderHosts, writeInPlace } from '../../../agent/network/hosts-file.ts';
import { renderResolvConf } from '../../../agent/network/resolv-conf.ts';

const folder = mkdtempSync(join(tmpdir(), 'frota-unit-network-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('/etc/hosts of a container', () => {
  it('names the container and the services of its stack', () => {
    const services = [
      { name: 'web', vip: '10.96.0.2' },
      { name: 'counter', vip: '10.96.0.1' },
    ];
    expect(renderHosts({ hostname: 'h7', address: '10.64.0.2', stack: 'hello', services })).toBe(
      '127.0.0.1\tlocalhost\n10.64.0.2\th7\n10.96.0.1\tcounter hello_counter\n10.96.0.2\tweb hello_web\n',
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
  it.each([
    ['nameserver 127.0.0.53\noptions edns0\nsearch lan\n', 'options edns0\nsearch lan\n'],
    ['# made by hand\nnameserver 9.9.9.9\nnameserver ::1\nnameserver fe80::1%eth0\n', 'nameserver 9.9.9.9\n'],
    ['', ''],
  ])('%j → %j', (node, expected) => {
    expect(renderResolvConf(node)).toBe(expected);
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
    const whole = attachScript(link, { namespace: false, veth: false });
    expect(whole).toContain(
      'link add frv0a400002 address 02:fa:ff:ff:ff:ff mtu 1450 type veth peer name eth0 address 02:fa:0a:40:00:02 mtu 1450 netns frota-a.t\n',
    );
    expect(whole).toContain('route replace 10.64.0.2/32 dev frv0a400002 scope link\n');
    const half = attachScript(link, { namespace: true, veth: true });
    expect(half).not.toMatch(/netns add|link add/);
  });
});
