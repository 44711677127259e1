import { expect, test } from 'vitest';
import { insecureRegistries } from '../../../proto/oci/insecure-registries.ts';

const entries = ['10.0.0.0/8', 'registry.lan', 'other.lan:5000', 'fd00::/8', '192.168.1.5:5000'];

test.each([
  ['localhost', true],
  ['localhost:5000', true],
  ['127.0.0.1:5000', true],
  ['127.9.9.9', true],
  ['[::1]:5000', true],
  ['10.1.2.3:5000', true],
  ['11.1.2.3:5000', false],
  ['registry.lan', true],
  ['Registry.lan:443', true],
  ['other.lan:5000', true],
  ['other.lan:5001', false],
  ['other.lan', false],
  ['192.168.1.5:5000', true],
  ['192.168.1.5:5001', false],
  ['[fd00::1]:5000', true],
  ['[fe00::1]:5000', false],
  ['ghcr.io', false],
  ['localhost.example', false],
])('%s: %s', (authority, isInsecure) => {
  expect(insecureRegistries(entries).has(authority)).toBe(isInsecure);
});

test.each(['http://x', '10.0.0.0/33', 'a b', '10.0.0/8', 'x.lan/24'])('%s is refused', (entry) => {
  expect(() => insecureRegistries([entry])).toThrow(entry);
});
