import { describe, expect, it } from 'vitest';
import { defaultUpdatePolicy } from '../../../proto/domain/update.ts';
import { loadOk, loadWeb, noticesOf, problemsOf, webWith } from './load-text.ts';

const MiB = 1024 * 1024;

describe('deploy', () => {
  it.each([
    ['deploy: {replicas: 3}', 3],
    ['deploy: {replicas: "3"}', 3],
    ['deploy: {replicas: "${N:-4}"}', 4],
    ['deploy: {replicas: 0}', 0],
    ['deploy: {mode: replicated}', 1],
    ['deploy:', 1],
    ['deploy: {}', 1],
  ])('%s', (keys, replicas) => {
    expect(loadWeb(keys).replicas).toBe(replicas);
  });

  it.each([
    ['{cpus: "0.5", memory: 64M, pids: 100}', { cpuMillis: 500, memoryBytes: 64 * MiB, pids: 100 }],
    ['{cpus: 1.25}', { cpuMillis: 1250 }],
    ['{cpus: 2, pids: "7"}', { cpuMillis: 2000, pids: 7 }],
    ['{memory: 64MiB}', { memoryBytes: 64 * MiB }],
    ['{memory: 64mb}', { memoryBytes: 64 * MiB }],
    ['{memory: 1g}', { memoryBytes: 1024 * MiB }],
    ['{memory: 1.5GB}', { memoryBytes: 1536 * MiB }],
    ['{memory: "67108864"}', { memoryBytes: 64 * MiB }],
    ['{memory: 65536k}', { memoryBytes: 64 * MiB }],
    ['{cpus: 0, memory: "0", pids: -1}', {}],
    ['{}', {}],
  ])('limits: %s', (limits, expected) => {
    expect(loadWeb(`deploy: {resources: {limits: ${limits}}}`).template.limits).toEqual(expected);
  });

  it('reads reservations', () => {
    const { reservations } = loadWeb('deploy: {resources: {reservations: {cpus: "0.25", memory: 32M}}}').template;
    expect(reservations).toEqual({ cpuMillis: 250, memoryBytes: 32 * MiB });
  });

  it.each([
    ['replicas: -1', 'services.web.deploy.replicas: expected a whole number from 0 to 10000, found the number -1'],
    ['replicas: 1.5', 'found the number 1.5'],
    ['replicas: 10001', 'found the number 10001'],
    ['replicas: "${N}"', 'found the string "${N}", which stands for ""'],
    ['replicas: [1]', 'found a list'],
    ['mode: global-job', '"global-job" is not supported by this version'],
    ['mode: globl', 'found the string "globl"; did you mean "global"?'],
    ['{mode: global, replicas: 2}', 'deploy.replicas: a global service has one task on each node'],
    ['endpoint_mode: dnsrr', 'the name tasks.SERVICE answers with every task'],
    ['placement: {constraints: [node.labels.zone]}', 'constraints[0]: expected "ATTRIBUTE == VALUE"'],
    ['placement: {constraints: [node.rack == 1]}', '"node.rack" is nothing that a node has; there are node.id'],
    ['placement: {constraints: [node.role == manager]}', 'no node is a manager here'],
    [
      'placement: {preferences: [{spread: node.rack}]}',
      'preferences[0].spread: "node.rack" is nothing that a node has',
    ],
    ['placement: {preferences: [{}]}', 'preferences[0]: expected "spread: node.labels.NAME"'],
    ['restart_policy: {condition: always}', 'condition: expected "any", "on-failure", "none"'],
    ['restart_policy: {delay: 5}', 'restart_policy.delay: expected a duration'],
    ['update_config: {order: start}', 'found the string "start"'],
    ['update_config: {max_failure_ratio: 2}', 'max_failure_ratio: expected a share from 0 to 1'],
    ['rollback_config: {failure_action: rollback}', 'failure_action: expected "pause", "continue"'],
    ['resorces: {}', 'unknown key; did you mean "resources"?'],
    ['resources: {limits: {memory: 64}}', 'expected a size such as "64M" or "1g", found the number 64'],
    ['resources: {limits: {memory: 1M}}', '1M is too little to start a container'],
    ['resources: {limits: {memory: 64X}}', 'found the string "64X"'],
    ['resources: {limits: {memory: -64M}}', 'found the string "-64M"'],
    ['resources: {limits: {memory: 9999999p}}', 'found the string "9999999p"'],
    ['resources: {limits: {cpus: lots}}', 'expected a number of cores such as "0.5", found the string "lots"'],
    ['resources: {limits: {cpus: 0.001}}', 'the least that can be enforced is 0.01 cores'],
    ['resources: {limits: {cpus: .inf}}', 'found the number .inf'],
    ['resources: {limits: {pids: x}}', 'found the string "x"'],
    ['resources: {reservations: {pids: 3}}', 'services.web.deploy.resources.reservations.pids: unknown key'],
    ['resources: {reservations: {devices: []}}', 'not supported by this version of Frota'],
    [
      'resources: {limits: {memory: 64M}, reservations: {memory: 65M}}',
      'reservations.memory: reserves more than limits.memory allows',
    ],
    [
      'resources: {limits: {cpus: 1}, reservations: {cpus: 2}}',
      'reservations.cpus: reserves more than limits.cpus allows',
    ],
  ])('%s is refused', (deploy, message) => {
    const problems = problemsOf(webWith(`deploy:\n  ${deploy}`));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(message);
  });

  it('reads modes and labels', () => {
    const web = loadWeb('deploy: {mode: global, labels: {team: shop}, endpoint_mode: vip}');
    expect([web.mode, web.labels]).toEqual(['global', { team: 'shop' }]);
  });

  it('reads how an update and a rollback go', () => {
    const keys =
      'deploy:\n' +
      '  update_config: {parallelism: 2, delay: 5s, order: start-first, monitor: 1m, failure_action: rollback, max_failure_ratio: 0.25}\n' +
      '  rollback_config: {parallelism: 0}';
    const web = loadWeb(keys);
    expect(web.update).toEqual({
      parallelism: 2,
      delayMs: 5_000,
      order: 'start-first',
      monitorMs: 60_000,
      failureAction: 'rollback',
      maxFailureRatio: 0.25,
    });
    expect(web.rollback).toEqual({ ...defaultUpdatePolicy, parallelism: 0 });
  });

  it('reads where tasks may run', () => {
    const keys =
      'deploy: {placement: {constraints: ["node.labels.zone==north", "node.hostname != n1"], ' +
      'preferences: [{spread: node.labels.rack}], max_replicas_per_node: 2}}';
    expect(loadWeb(keys).placement).toEqual({
      constraints: [
        { attribute: 'node.labels.zone', operator: '==', value: 'north' },
        { attribute: 'node.hostname', operator: '!=', value: 'n1' },
      ],
      spread: ['node.labels.rack'],
      maxReplicasPerNode: 2,
    });
  });

  it('takes every node for a worker', () => {
    const text = webWith('deploy: {placement: {constraints: [node.role == worker, node.role != manager]}}');
    expect(noticesOf(text)).toHaveLength(2);
    expect(loadOk(text).services[0]?.placement.constraints).toEqual([]);
  });

  it('puts restart_policy before restart', () => {
    const keys =
      'restart: "no"\ndeploy: {restart_policy: {condition: on-failure, delay: 2s, max_attempts: 3, window: 2m}}';
    expect(loadWeb(keys).restart).toEqual({
      condition: 'on-failure',
      maxAttempts: 3,
      delayMs: 2_000,
      windowMs: 120_000,
    });
    expect(loadWeb('deploy: {restart_policy: {max_attempts: 0}}').restart).toEqual({ condition: 'any' });
    expect(loadWeb('deploy: {restart_policy: {max_attempts: 3, window: 168h}}').restart).toEqual({
      condition: 'any',
      maxAttempts: 3,
      windowMs: 604_800_000,
    });
    expect(problemsOf(webWith('deploy: {restart_policy: {window: 721h}}'))[0]).toContain('longer than 720h');
  });
});
