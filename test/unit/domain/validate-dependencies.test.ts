import { describe, expect, it } from 'vitest';
import type { Dependency } from '../../../proto/domain/stack-parts.ts';
import { maxRestartDelayMs, maxRestartsInWindow, validateStackSpec } from '../../../proto/domain/validate.ts';
import type { RestartPolicy, ServiceSpec } from '../../../proto/domain/service.ts';
import { aServiceSpec, aStackSpec, aTemplate } from '../../builders/domain.ts';

const on = (service: string, over: Partial<Dependency> = {}): Dependency => ({
  service,
  condition: 'started',
  required: true,
  ...over,
});
const service = (name: string, ...dependsOn: readonly Dependency[]): ServiceSpec => aServiceSpec({ name, dependsOn });
const problems = (...services: readonly ServiceSpec[]): string[] =>
  validateStackSpec(aStackSpec('shop', services)).map(({ where, message }) => `${where}: ${message}`);

describe('dependencies', () => {
  it('may form any graph without circles, and name an optional service that is not there', () => {
    const services = [
      service('a', on('b'), on('c')),
      service('b', on('d')),
      service('c', on('d', { condition: 'healthy' })),
      service('d', on('elsewhere', { required: false })),
    ];
    expect(problems(...services)).toEqual([]);
  });

  it.each<[string, readonly ServiceSpec[], readonly string[]]>([
    [
      'a service that is not declared',
      [service('web', on('db'))],
      ['services.web.depends_on.db: there is no service "db" in this stack; declare it, or write "required: false"'],
    ],
    ['itself', [service('web', on('web'))], ['services.web.depends_on.web: a service cannot wait for itself']],
    [
      'a circle, once',
      [
        service('x', on('a')),
        service('a', on('b')),
        service('b', on('c')),
        service('c', on('a'), on('b', { required: false })),
      ],
      [
        'services.a.depends_on: a waits for b waits for c waits for a: none of them would ever start',
        'services.b.depends_on: b waits for c waits for b: none of them would ever start',
      ],
    ],
    [
      'the health of a service whose check is disabled',
      [
        service('web', on('db', { condition: 'healthy' })),
        aServiceSpec({ name: 'db', template: aTemplate({ healthCheck: { test: ['NONE'] } }) }),
      ],
      ['services.web.depends_on.db: "db" has its health check disabled, so it is never healthy; wait for it to start'],
    ],
  ])('refuses %s', (_, services, expected) => {
    expect(problems(...services)).toEqual(expected);
  });
});

describe('restart policies', () => {
  const ofPolicy = (over: Partial<RestartPolicy>): string[] =>
    problems(aServiceSpec({ restart: { condition: 'any', ...over } }));

  it('accept what is right, up to each bound', () => {
    expect(ofPolicy({ delayMs: maxRestartDelayMs, maxAttempts: maxRestartsInWindow, windowMs: 1 })).toEqual([]);
    expect(ofPolicy({ delayMs: 0, maxAttempts: 1_000_000 })).toEqual([]);
  });

  it.each<[string, Partial<RestartPolicy>, RegExp]>([
    [
      'a delay beyond a day',
      { delayMs: maxRestartDelayMs + 1 },
      /restart_policy\.delay: the delay in milliseconds is 86400001/,
    ],
    ['a window of nothing', { windowMs: 0 }, /restart_policy\.window: the window in milliseconds is 0/],
    [
      'more attempts in a window than are kept',
      { windowMs: 1_000, maxAttempts: 101 },
      /max_attempts within a window is 101; .* 0 to 100/,
    ],
  ])('refuse %s', (_, over, expected) => {
    expect(ofPolicy(over).join()).toMatch(expected);
  });
});
