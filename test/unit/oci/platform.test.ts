import { expect, test } from 'vitest';
import { bestForPlatform, formatPlatform, hostPlatform, platformFits } from '../../../proto/oci/platform.ts';
import type { Platform } from '../../../proto/oci/platform.ts';

const platform = (text: string): Platform => {
  const [os = '', architecture = '', variant] = text.split('/');
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
};

test.each([
  ['x64', 'linux/amd64'],
  ['arm64', 'linux/arm64'],
  ['arm', 'linux/arm/v7'],
  ['ppc64', 'linux/ppc64le'],
  ['riscv64', 'linux/riscv64'],
])('process.arch %s runs %s', (arch, name) => {
  expect(formatPlatform(hostPlatform(arch))).toBe(name);
});

test.each([
  ['linux/amd64', 'linux/amd64', true],
  ['linux/amd64', 'linux/x86_64', true],
  ['linux/amd64', 'linux/arm64', false],
  ['linux/amd64', 'windows/amd64', false],
  ['linux/amd64', 'linux/amd64/v3', false],
  ['linux/arm64', 'linux/arm64/v8', true],
  ['linux/arm/v7', 'linux/arm/v6', true],
  ['linux/arm/v6', 'linux/arm/v7', false],
  ['linux/arm64', 'linux/arm/v7', false],
])('on %s, an image for %s runs: %s', (host, image, fits) => {
  expect(platformFits(platform(host), platform(image))).toBe(fits);
});

test('the newest variant that runs is taken, the first of equals', () => {
  const offer = (...names: string[]): { name: string; platform: Platform }[] =>
    names.map((name, index) => ({ name: `${String(index)} ${name}`, platform: platform(name) }));
  const host = platform('linux/arm/v7');
  expect(bestForPlatform(host, offer('linux/arm/v5', 'linux/arm/v7', 'linux/arm/v6'))?.name).toBe('1 linux/arm/v7');
  expect(bestForPlatform(host, offer('linux/arm', 'linux/arm/v7'))?.name).toBe('0 linux/arm');
  expect(bestForPlatform(host, offer('linux/amd64', 'unknown/unknown'))).toBeUndefined();
});
