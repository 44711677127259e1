import { describe, expect, it } from 'vitest';
import { loadWeb, problemsOf, webWith } from './load-text.ts';

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
    ['mode: global', '"global" is not supported by this version'],
    ['mode: globl', 'expected "replicated", found "globl"'],
    ['placement: {}', 'services.web.deploy.placement: not supported by this version of Frota'],
    ['restart_policy: {}', 'write "restart" in the service'],
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
});
