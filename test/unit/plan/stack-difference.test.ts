import { describe, expect, it } from 'vitest';
import { maxDifferences, stackDifference } from '../../../controller/plan/stack-difference.ts';
import type { ServiceSpec, TaskTemplate } from '../../../proto/domain/service.ts';
import { defaultUpdatePolicy } from '../../../proto/domain/update.ts';
import { aServiceSpec, aStackSpec, aTemplate, MiB } from '../../builders/domain.ts';

const web = (over: Partial<ServiceSpec> = {}, template: Partial<TaskTemplate> = {}): ServiceSpec =>
  aServiceSpec({ ...over, template: aTemplate(template) });
const between = (before: ServiceSpec, after: ServiceSpec): readonly string[] =>
  stackDifference(aStackSpec('shop', [before]), aStackSpec('shop', [after]));
const image = (tag: string, digit: string) => ({ reference: `app:${tag}`, digest: `sha256:${digit.repeat(64)}` });
const secret = (contentId: string) => ({
  kind: 'secret' as const,
  name: 'token',
  contentId,
  target: '/run/secrets/token',
});

describe('the difference of two stacks', () => {
  it.each([
    [
      'an image',
      web({}, { image: image('1', 'a') }),
      web({}, { image: image('2', 'b') }),
      ['web: image app:1 -> app:2'],
    ],
    [
      'an image whose tag was moved',
      web({}, { image: image('1', 'a') }),
      web({}, { image: image('1', 'b') }),
      ['web: image app:1 has new content'],
    ],
    ['a size', web({ replicas: 3 }), web({ replicas: 5 }), ['web: replicas 3 -> 5']],
    ['a mode', web({ replicas: 3 }), web({ mode: 'global' }), ['web: mode replicated -> global', 'web: - replicas']],
    [
      'a command, hidden',
      web({}, { command: ['--password', 'a'] }),
      web({}, { command: ['--password', 'b'] }),
      ['web: command changed'],
    ],
    [
      'variables, hidden',
      web({}, { environment: { A: 'pear', B: 'x' } }),
      web({}, { environment: { A: 'plum', C: 'x' } }),
      ['web: variable A changed', 'web: + variable C', 'web: - variable B'],
    ],
    [
      'labels, hidden',
      web({ labels: { a: 'pear' } }, { labels: { b: 'x' } }),
      web({ labels: { a: 'plum' } }, { labels: { b: 'y' } }),
      ['web: label b changed', 'web: service label a changed'],
    ],
    [
      'a secret, hidden',
      web({}, { files: [secret('secret-1')] }),
      web({}, { files: [secret('secret-2')] }),
      ['web: secret token changed'],
    ],
    [
      'limits',
      web({}, { limits: { memoryBytes: 64 * MiB } }),
      web({}, { limits: { memoryBytes: 128 * MiB, cpuMillis: 250 } }),
      ['web: + cpu limit 0.25', 'web: memory limit 64 MiB -> 128 MiB'],
    ],
    [
      'ports',
      web({ ports: [{ target: 80, protocol: 'tcp' }] }),
      web({ ports: [{ target: 80, published: 8080, protocol: 'tcp' }] }),
      ['web: + port 80/tcp as 8080', 'web: - port 80/tcp'],
    ],
    [
      'policies',
      web(),
      web({
        restart: { condition: 'none' },
        update: { ...defaultUpdatePolicy, parallelism: 0, delayMs: 1_500, order: 'start-first' },
      }),
      [
        'web: restart any -> none',
        'web: update parallelism 1 -> all',
        'web: update delay 0 s -> 1500 ms',
        'web: update order stop-first -> start-first',
      ],
    ],
    ['a restart', web(), web({}, { generation: 1 }), ['web: restarted']],
    [
      'dependencies',
      web(),
      web({ dependsOn: [{ service: 'db', condition: 'healthy', required: true }] }),
      ['web: + dependency on db healthy'],
    ],
    ['nothing', web(), web(), []],
  ] as const)('%s', (_, before, after, lines) => {
    expect(between(before, after)).toEqual(lines);
  });

  it('says which services, networks and volumes come and go; of a new stack its services', () => {
    const back = { key: 'back', name: 'shop_back', external: false, internal: true, labels: {} };
    const data = { key: 'data', name: 'shop_data', external: false, labels: {} };
    const one = { ...aStackSpec('shop', [web(), web({ name: 'cache' })]), volumes: [data] };
    const two = { ...aStackSpec('shop', [web(), web({ name: 'db' })]), networks: [back] };
    expect(stackDifference(one, two)).toEqual([
      '- service cache',
      '+ service db',
      '+ network back',
      '- network shop_default',
      '- volume data',
    ]);
    expect(stackDifference(undefined, one)).toEqual(['+ service cache', '+ service web']);
  });

  it('is bounded', () => {
    const environment = Object.fromEntries(Array.from({ length: 150 }, (_, index) => [`V${String(index)}`, 'x']));
    const lines = between(web(), web({}, { environment: { ...environment, ['N'.repeat(1_000)]: 'x' } }));
    expect(lines).toHaveLength(maxDifferences + 1);
    expect(lines.at(-1)).toBe('and 51 more');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(300);
  });
});
