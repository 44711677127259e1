/** What people write into their Compose files here: every key that decides where, when and how often something runs. */
import type { HealthCheck } from '../../proto/domain/health.ts';
import type { Placement } from '../../proto/domain/placement.ts';
import { anywhere } from '../../proto/domain/placement.ts';
import type { RestartPolicy, ServiceSpec, StackSpec } from '../../proto/domain/service.ts';
import type { Dependency } from '../../proto/domain/stack-parts.ts';
import type { UpdatePolicy } from '../../proto/domain/update.ts';
import { aServiceSpec, aStackSpec, aTemplate, MiB } from '../builders/domain.ts';
import { behaviourLabel, behaviours } from './behaviour.ts';
import { zones } from './machine.ts';
import type { Random } from './random.ts';

export const longestMonitorMs = 5_000;

const stackNames = ['blog', 'jobs', 'shop'] as const;
const serviceNames = ['api', 'web', 'worker'] as const;

export function someStack(random: Random): StackSpec {
  const chosen = serviceNames.filter(() => random.chance(0.6));
  const names = chosen.length === 0 ? (['web'] as const) : chosen;
  const stack = random.pick(stackNames);
  const services = names.map((name, index) => someService(random, stack, name, names.slice(0, index)));
  const volumes = names.map((name) => ({ key: name, name: `${stack}_${name}`, external: false, labels: {} }));
  return { ...aStackSpec(stack, services), volumes };
}

function someService(random: Random, stack: string, name: string, others: readonly string[]): ServiceSpec {
  const behaviour = random.chance(0.6) ? 'steady' : random.pick(behaviours);
  const fenced = random.chance(0.25);
  const published = random.chance(0.5) ? { published: random.int(30_001, 30_003) } : {};
  return aServiceSpec({
    name,
    mode: random.chance(0.15) ? 'global' : 'replicated',
    replicas: random.int(0, 5),
    restart: someRestart(random),
    ports: random.chance(0.3) ? [{ target: 80, protocol: 'tcp', ...published }] : [],
    placement: random.chance(0.3) ? somePlacement(random) : anywhere,
    update: someUpdate(random, fenced),
    rollback: { ...someUpdate(random, fenced), failureAction: 'pause' },
    dependsOn: random.chance(0.3) ? others.slice(0, 1).map((other) => someDependency(random, other)) : [],
    template: aTemplate({
      image: imageOf(name, random.int(1, 3)),
      networks: [{ network: `${stack}_default`, aliases: [] }],
      labels: { [behaviourLabel]: behaviour },
      reservations: { cpuMillis: random.pick([0, 100, 400]), memoryBytes: random.pick([0, 64, 300]) * MiB },
      stopGracePeriodMs: random.pick([200, 2_000, 5_000]),
      drainDelayMs: random.chance(0.2) ? random.int(100, 1_500) : 0,
      mounts: random.chance(0.15)
        ? [{ kind: 'volume', volume: `${stack}_${name}`, target: '/data', readOnly: false, noCopy: false }]
        : [],
      ...(fenced ? { fenceLeaseMs: random.pick([2_000, 2_000, 4_000, 10_000]) } : {}),
      ...(random.chance(0.4) ? { healthCheck: someHealthCheck(random) } : {}),
    }),
  });
}

/** The same services; some have a new version. */
export function updated(random: Random, spec: StackSpec): StackSpec {
  const services = spec.services.map((service) => {
    if (random.chance(0.3)) return service;
    return { ...service, template: { ...service.template, image: imageOf(service.name, random.int(4, 9)) } };
  });
  return { ...spec, services };
}

const imageOf = (name: string, version: number) => ({
  reference: `registry.test/${name}:${String(version)}`,
  digest: '',
});

function someRestart(random: Random): RestartPolicy {
  if (random.chance(0.7)) return { condition: 'any' };
  return {
    condition: random.pick(['any', 'on-failure', 'none']),
    ...(random.chance(0.5) ? { maxAttempts: random.int(1, 5) } : {}),
    ...(random.chance(0.3) ? { delayMs: random.int(0, 8_000) } : {}),
    ...(random.chance(0.3) ? { windowMs: random.int(1_000, 60_000) } : {}),
  };
}

function somePlacement(random: Random): Placement {
  const constraints = random.chance(0.6)
    ? [{ attribute: 'node.labels.zone', operator: random.pick(['==', '!='] as const), value: random.pick(zones) }]
    : [];
  return {
    constraints,
    spread: random.chance(0.5) ? ['node.labels.zone'] : [],
    ...(random.chance(0.4) ? { maxReplicasPerNode: random.int(1, 2) } : {}),
  };
}

/** Two tasks of a fenced slot never overlap, in an update neither. */
function someUpdate(random: Random, fenced: boolean): UpdatePolicy {
  return {
    parallelism: random.int(0, 2),
    delayMs: random.pick([0, 0, 1_500]),
    order: fenced ? 'stop-first' : random.pick(['start-first', 'stop-first']),
    monitorMs: random.pick([0, 1_000, longestMonitorMs]),
    failureAction: random.pick(['pause', 'continue', 'rollback']),
    maxFailureRatio: random.pick([0, 0.5, 1]),
  };
}

function someDependency(random: Random, service: string): Dependency {
  return { service, condition: random.pick(['started', 'healthy', 'completed']), required: random.chance(0.7) };
}

function someHealthCheck(random: Random): HealthCheck {
  return {
    test: ['CMD', 'check'],
    intervalMs: random.pick([1_000, 5_000]),
    timeoutMs: 500,
    retries: random.int(1, 3),
    startPeriodMs: random.pick([0, 2_000]),
    startIntervalMs: random.pick([200, 1_000]),
  };
}
