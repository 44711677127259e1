import { describe, expect, it } from 'vitest';
import { maxValueBytes } from '../../../controller/store/store.ts';
import type { FileMount, Mount } from '../../../proto/domain/mount.ts';
import type { ServiceSpec, TaskTemplate } from '../../../proto/domain/service.ts';
import { maxStackBytes, maxTemplateBytes, validateStackSpec } from '../../../proto/domain/validate.ts';
import { aServiceSpec, aStackSpec, aTemplate, MiB } from '../../builders/domain.ts';

const ofService = (over: Partial<ServiceSpec>): string[] =>
  validateStackSpec(aStackSpec('shop', [aServiceSpec(over)])).map(({ where, message }) => `${where}: ${message}`);
const ofTemplate = (over: Partial<TaskTemplate>): string[] => ofService({ template: aTemplate(over) });
const aVolume = (target: string): Mount => ({ kind: 'volume', volume: 'v', target, readOnly: false, noCopy: false });
const aSecret = (over: Partial<FileMount>): FileMount => ({
  kind: 'secret',
  name: 'token',
  contentId: '',
  target: '/run/secrets/token',
  ...over,
});

it('accepts what is right, up to each bound', () => {
  const template = aTemplate({
    environment: { A: 'b=c', 'with.dot': '' },
    labels: { 'org.example/key': 'value' },
    user: '1000:1000',
    workingDir: '/srv',
    command: [],
    limits: { cpuMillis: 500, memoryBytes: 64 * MiB, pids: 10 },
    reservations: { cpuMillis: 500, memoryBytes: 64 * MiB },
    stopGracePeriodMs: 0,
  });
  const ports = [
    { target: 1, published: 65_535, protocol: 'tcp' },
    { target: 1, published: 65_535, protocol: 'udp' },
  ] as const;
  expect(
    ofService({ name: 'Web.1_a-b', replicas: 10_000, restart: { condition: 'any', maxAttempts: 0 }, ports, template }),
  ).toEqual([]);
  expect(ofTemplate({ image: { reference: 'web', digest: '' } })).toEqual([]);
});

describe('refuses', () => {
  it.each<[string, string[], RegExp]>([
    ['a service name', ofService({ name: '-web' }), /^services.-web: "-web" is no service name/],
    ['a slash in a name', ofService({ name: 'a/b' }), /is no service name/],
    ['a long name', ofService({ name: 'a'.repeat(64) }), /longer than 63/],
    [
      'too many replicas',
      ofService({ replicas: 10_001 }),
      /^services.web.deploy.replicas: replicas is 10001; .* 0 to 10000$/,
    ],
    ['part of a replica', ofService({ replicas: 1.5 }), /whole number/],
    ['negative attempts', ofService({ restart: { condition: 'any', maxAttempts: -1 } }), /max_attempts is -1/],
    [
      'port 0',
      ofService({ ports: [{ target: 0, protocol: 'tcp' }] }),
      /^services.web.ports\[0\]: the container port is 0/,
    ],
    [
      'port 65536',
      ofService({ ports: [{ target: 1, published: 65_536, protocol: 'tcp' }] }),
      /the published port is 65536/,
    ],
    ['no image', ofTemplate({ image: { reference: '', digest: '' } }), /^services.web.image: the image is missing/],
    ['a bad digest', ofTemplate({ image: { reference: 'web', digest: 'sha256:12' } }), /no digest/],
    [
      '= in a variable name',
      ofTemplate({ environment: { 'A=B': '' } }),
      /^services.web.environment: "A=B" is no variable name/,
    ],
    ['a nameless variable', ofTemplate({ environment: { '': 'x' } }), /a variable has no name/],
    ['NUL in a value', ofTemplate({ environment: { A: 'x\0y' } }), /the value of A has a NUL byte/],
    ['NUL in an argument', ofTemplate({ command: ['a\0'] }), /^services.web.command: /],
    ['a user with spaces', ofTemplate({ user: 'a b' }), /is no user/],
    ['a relative directory', ofTemplate({ workingDir: 'srv' }), /no absolute path/],
    ['a long label', ofTemplate({ labels: { a: 'x'.repeat(16 * 1024 + 1) } }), /label a takes 16385 bytes/],
    ['a limit of 0', ofTemplate({ limits: { cpuMillis: 0 } }), /limits.cpus: .* at least 1$/],
    ['a memory limit nothing runs in', ofTemplate({ limits: { memoryBytes: 1024 } }), /limits.memory/],
    [
      'a reservation above its limit',
      ofTemplate({ limits: { cpuMillis: 1 }, reservations: { cpuMillis: 2, memoryBytes: 0 } }),
      /reservations.cpus: the reservation is larger/,
    ],
    ['a negative reservation', ofTemplate({ reservations: { cpuMillis: -1, memoryBytes: 0 } }), /reservations.cpus/],
    ['a grace period without end', ofTemplate({ stopGracePeriodMs: 3_600_001 }), /stop_grace_period/],
    ['not a number', ofTemplate({ stopGracePeriodMs: Number.NaN }), /is NaN/],
    [
      'a secret where a volume is',
      ofTemplate({ mounts: [aVolume('/run//secrets/./token/')], files: [aSecret({})] }),
      /two mounts have the target/,
    ],
    ['a mount over the root', ofTemplate({ mounts: [aVolume('/.//')] }), /root can't be mounted over/],
    ['a uid that is none', ofTemplate({ files: [aSecret({ uid: -1 })] }), /^services.web.secrets: uid is -1/],
    ['a gid that is none', ofTemplate({ files: [aSecret({ gid: 2 ** 31 })] }), /gid is 2147483648/],
    ['a huge environment', ofTemplate({ environment: { A: 'ü'.repeat(maxTemplateBytes / 2) } }), /together takes/],
  ])('%s', (_, problems, expected) => {
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(expected);
  });

  it.each(['', 'Shop', '_shop', 'a b', 'a/b', 'a'.repeat(64)])('the stack name "%s"', (name) => {
    expect(validateStackSpec(aStackSpec(name)).map(({ where }) => where)).toEqual(['name']);
  });

  it('services and published ports declared twice, and tells all problems at once', () => {
    const port = { target: 80, published: 8080, protocol: 'tcp' } as const;
    const services = [
      aServiceSpec({ ports: [port, port] }),
      aServiceSpec(),
      aServiceSpec({ name: 'api', ports: [port] }),
    ];
    expect(validateStackSpec(aStackSpec('shop', services))).toEqual([
      { where: 'services.web', message: 'this service is declared twice' },
      {
        where: 'services.web.ports[1]',
        message: 'port 8080/tcp is published twice by this service; publish another one',
      },
      {
        where: 'services.api.ports[0]',
        message: 'port 8080/tcp is published by service web, too; publish another one',
      },
    ]);
  });

  it('a stack without services, and one larger than a store value', () => {
    expect(validateStackSpec(aStackSpec('shop', []))[0]?.where).toBe('services');
    const template = aTemplate({ environment: { A: 'x'.repeat(100 * 1024) } });
    const services = Array.from({ length: 10 }, (_, index) => aServiceSpec({ name: `s${String(index)}`, template }));
    expect(validateStackSpec(aStackSpec('shop', services)).map(({ message }) => message)[0]).toMatch(
      /^the stack takes \d+ bytes/,
    );
    expect(maxStackBytes).toBeLessThan(maxValueBytes);
    expect(maxTemplateBytes).toBeLessThan(maxStackBytes);
  });
});
