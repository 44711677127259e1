import { describe, expect, it } from 'vitest';
import { FrotaError } from '../../../proto/base/errors.ts';
import { resolveUser } from '../../../agent/runtime/oci/container-user.ts';

const passwd = `root:x:0:0:root:/root:/bin/sh
# a comment
broken line
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
ana:x:1000:1001:Ana:/home/ana:/bin/sh
nohome:x:1005:1005:::/bin/sh
1234:x:77:77::/odd:/bin/sh
`;
const group = `root:x:0:
adm:x:4:root,ana
www-data:x:33:
ana:x:1001:ana
boats:x:1002:rui,ana
`;

describe('resolveUser', () => {
  it.each([
    ['', 0, 0, [0, 4], '/root'],
    ['0', 0, 0, [0, 4], '/root'],
    ['ana', 1000, 1001, [1001, 4, 1002], '/home/ana'],
    ['1000', 1000, 1001, [1001, 4, 1002], '/home/ana'],
    ['ana:boats', 1000, 1002, [1002], '/home/ana'],
    ['ana:4242', 1000, 4242, [4242], '/home/ana'],
    ['4242', 4242, 0, [0], '/'],
    ['4242:adm', 4242, 4, [4], '/'],
    ['1000:1000', 1000, 1000, [1000], '/home/ana'],
    ['nohome', 1005, 1005, [1005], '/'],
    ['1234', 77, 77, [77], '/odd'],
    [':boats', 0, 1002, [1002], '/root'],
  ])('%j is uid %i, gid %i, groups %j, home %s', (user, uid, gid, additionalGids, home) => {
    expect(resolveUser(user, passwd, group)).toEqual({ uid, gid, additionalGids, home });
  });

  it('works without the files', () => {
    expect(resolveUser('', '', '')).toEqual({ uid: 0, gid: 0, additionalGids: [0], home: '/root' });
    expect(resolveUser('5:6', '', '')).toEqual({ uid: 5, gid: 6, additionalGids: [6], home: '/' });
  });

  it.each([
    ['ghost', /user "ghost" is not in the image's \/etc\/passwd/],
    ['ana:ghosts', /group "ghosts" is not in the image's \/etc\/group/],
    ['-1', /user "-1"/],
    ['4294967295', /above 2147483647/],
    ['0:99999999999', /above 2147483647/],
  ])('refuses %j', (user, words) => {
    expect(() => resolveUser(user, passwd, group)).toThrow(words);
    expect(() => resolveUser(user, passwd, group)).toThrow(FrotaError);
  });
});
