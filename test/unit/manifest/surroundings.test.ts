import { describe, expect, it } from 'vitest';
import { load, loadOk, loadWeb, noticesOf, problemsOf, webWith } from './load-text.ts';

/** A file with `web` of these keys and this top level. */
const stackWith = (keys: string, top: string): string => `${webWith(keys)}${top}\n`;

describe('healthcheck', () => {
  it.each([
    ['{test: curl -f http://localhost}', { test: ['CMD-SHELL', 'curl -f http://localhost'] }],
    ['{test: [CMD, wget, -q, x]}', { test: ['CMD', 'wget', '-q', 'x'] }],
    ['{test: [CMD-SHELL, "a && b"]}', { test: ['CMD-SHELL', 'a && b'] }],
    ['{test: [NONE]}', { test: ['NONE'] }],
    ['{disable: true}', { test: ['NONE'] }],
    ['{interval: 1m30s, retries: 5}', { intervalMs: 90_000, retries: 5 }],
    [
      '{timeout: 2s, start_period: 10s, start_interval: 200ms}',
      { timeoutMs: 2_000, startPeriodMs: 10_000, startIntervalMs: 200 },
    ],
    // As in Docker, zero is the image's own.
    ['{interval: 0s, retries: 0, test: [CMD, x]}', { test: ['CMD', 'x'] }],
    ['{disable: false}', undefined],
  ])('%s', (written, expected) => {
    expect(loadWeb(`healthcheck: ${written}`).template.healthCheck).toEqual(expected);
  });

  it.each([
    ['{test: [curl, x]}', 'healthcheck.test: expected ["CMD", "program", …]'],
    ['{test: [CMD]}', 'healthcheck.test: expected'],
    ['{test: []}', 'healthcheck.test: expected'],
    ['{disable: true, test: x}', 'healthcheck.disable: there is a "test", too'],
    ['{interval: 5}', 'healthcheck.interval: expected a duration'],
    ['{retries: -1}', 'healthcheck.retries: expected a whole number'],
    ['{intervall: 5s}', 'unknown key; did you mean "interval"?'],
    ['{timeout: 25h}', 'longer than 24h'],
  ])('%s is refused', (written, message) => {
    expect(problemsOf(webWith(`healthcheck: ${written}`)).join()).toContain(message);
  });
});

describe('networks', () => {
  it('are the default one where none is named', () => {
    const spec = loadOk(webWith(''));
    expect(spec.networks.map(({ name }) => name)).toEqual(['shop_default']);
    expect(spec.services[0]?.template.networks).toEqual([{ network: 'shop_default', aliases: [] }]);
  });

  it('come with aliases, names of their own and from outside', () => {
    const keys = 'networks: {back: {aliases: [db, api]}, hub: , named: {priority: 5}}';
    const top =
      'networks: {back: {internal: true}, hub: {external: true}, named: {name: plain, driver: bridge}, idle: }';
    const spec = loadOk(stackWith(keys, top));
    expect(spec.services[0]?.template.networks).toEqual([
      { network: 'hub', aliases: [] },
      { network: 'plain', aliases: [] },
      { network: 'shop_back', aliases: ['api', 'db'] },
    ]);
    // One that nobody is in is not made.
    expect(spec.networks.map(({ key, name, external, internal }) => [key, name, external, internal])).toEqual([
      ['back', 'shop_back', false, true],
      ['hub', 'hub', true, false],
      ['named', 'plain', false, false],
    ]);
  });

  it('take the container name as an alias', () => {
    const text = webWith('container_name: my-web');
    expect(loadOk(text).services[0]?.template.networks[0]?.aliases).toEqual(['my-web']);
    expect(noticesOf(text).join()).toContain('becomes an alias');
  });

  it.each([
    [
      'networks: [bakc]',
      'networks: {back: }',
      'there is no network "bakc"; declare it under "networks" at the top level; did you mean "back"?',
    ],
    ['networks: {back: {aliases: ["a b"]}}', 'networks: {back: }', 'networks.back.aliases[0]: "a b" is no host name'],
    ['networks: {back: {ipv4_address: 10.1.1.1}}', 'networks: {back: }', 'the cluster chooses addresses'],
    ['networks: [back]', 'networks: {back: {driver: macvlan}}', '"macvlan" is no driver of Frota'],
    ['networks: [back]', 'networks: {back: {driver_opts: {encrypted: ""}}}', 'driver_opts.encrypted: not supported'],
    ['networks: [back]', 'networks: {"a b": , back: }', 'expected a name of letters'],
    ['networks: [back, back]', 'networks: {back: }', 'a network is named twice'],
  ])('%s with %s is refused', (keys, top, message) => {
    expect(problemsOf(stackWith(keys, top)).join()).toContain(message);
  });
});

describe('volumes', () => {
  const top = 'volumes: {data: , shared: {external: true}, named: {name: other, driver: local, labels: {a: b}}}';

  it('come in short and long forms', () => {
    const keys =
      'volumes:\n' +
      '  - data:/var/lib/data\n' +
      '  - shared:/srv/shared:ro\n' +
      '  - /srv/www:/www:ro,z\n' +
      '  - /cache\n' +
      '  - {type: volume, source: named, target: /n, volume: {nocopy: true, subpath: a/b}}\n' +
      '  - {type: bind, source: /etc/app, target: /etc/app, read_only: true}\n' +
      '  - {type: tmpfs, target: /t, tmpfs: {size: 64m, mode: 01777}}\n' +
      'tmpfs: ["/run", "/tmp:size=16m,mode=700,nosuid"]';
    const spec = loadOk(stackWith(keys, top));
    expect(spec.services[0]?.template.mounts).toEqual([
      { kind: 'volume', volume: 'shop_data', target: '/var/lib/data', readOnly: false, noCopy: false },
      { kind: 'volume', volume: 'shared', target: '/srv/shared', readOnly: true, noCopy: false },
      { kind: 'bind', source: '/srv/www', target: '/www', readOnly: true, createSource: true },
      { kind: 'volume', target: '/cache', readOnly: false, noCopy: false },
      { kind: 'volume', volume: 'other', target: '/n', readOnly: false, noCopy: true, subpath: 'a/b' },
      { kind: 'bind', source: '/etc/app', target: '/etc/app', readOnly: true, createSource: false },
      { kind: 'tmpfs', target: '/t', readOnly: false, sizeBytes: 64 * 1024 ** 2, mode: 0o1777 },
      { kind: 'tmpfs', target: '/run', readOnly: false },
      { kind: 'tmpfs', target: '/tmp', readOnly: false, sizeBytes: 16 * 1024 ** 2, mode: 0o700 },
    ]);
    expect(spec.volumes.map(({ key, name, external }) => [key, name, external])).toEqual([
      ['data', 'shop_data', false],
      ['named', 'other', false],
      ['shared', 'shared', true],
    ]);
  });

  it.each([
    ['[./data:/data]', '"./data" is a path of this machine, which the nodes don\'t have; write an absolute path'],
    ['["~/x:/x"]', 'is a path of this machine'],
    ['[dta:/data]', 'there is no volume "dta"; declare it under "volumes" at the top level; did you mean "data"?'],
    ['["data:/d:rx"]', '"rx" is no mode of a mount'],
    ['["data:"]', 'expected a mount such as'],
    ['["a:/b:ro:x"]', 'expected a mount such as'],
    ['["data:d"]', 'the target "d" is no absolute path'],
    ['["/a/../b:/c"]', 'has ".." in it'],
    ['["data:/"]', "the container's root can't be mounted over"],
    ['["data:/d", "/x:/d/"]', 'two mounts have the target'],
    ['[{type: npipe, target: /x}]', 'expected "volume", "bind" or "tmpfs", found "npipe"'],
    ['[{type: bind, target: /x}]', 'volumes[0].source: missing'],
    ['[{type: volume, source: data}]', 'volumes[0].target: missing'],
    ['[{type: volume, source: data, target: /x, volume: {subpath: ../..}}]', 'leads out of the volume'],
  ])('%s is refused', (volumes, message) => {
    expect(problemsOf(stackWith(`volumes: ${volumes}`, top)).join()).toContain(message);
  });

  it('refuses drivers that are not there', () => {
    expect(problemsOf(stackWith('', 'volumes: {data: {driver: nfs}}')).join()).toContain('"nfs" is no driver of Frota');
    expect(problemsOf(stackWith('', 'volumes: {data: {driver_opts: {a: b}}}')).join()).toContain(
      'driver_opts: not supported',
    );
  });
});

describe('configs and secrets', () => {
  const top =
    'configs: {site: {file: ./site.conf}, motd: {content: "hi ${WHO}"}, idle: {file: x}}\n' +
    'secrets: {pass: {file: pass.txt}, token: {environment: TOKEN}}';
  const environment = { WHO: 'you', TOKEN: 't0k' };

  it('become files of the container, and contents to be sent', () => {
    const keys =
      'configs: [site, {source: motd, target: /etc/motd, uid: "1000", gid: 1001, mode: 0440}]\n' +
      'secrets: [pass, {source: token, target: api, mode: "600"}]';
    const result = load(stackWith(keys, top), { environment });
    if (result.kind !== 'ok') throw new Error('it was refused');
    expect(result.spec.services[0]?.template.files).toEqual([
      { kind: 'config', name: 'site', contentId: '', target: '/site' },
      { kind: 'config', name: 'motd', contentId: '', target: '/etc/motd', uid: 1000, gid: 1001, mode: 0o440 },
      { kind: 'secret', name: 'pass', contentId: '', target: '/run/secrets/pass' },
      { kind: 'secret', name: 'token', contentId: '', target: '/run/secrets/api', mode: 0o600 },
    ]);
    expect(result.contents.map(({ kind, key, origin }) => [kind, key, origin])).toEqual([
      ['config', 'site', { kind: 'file', path: './site.conf' }],
      ['config', 'motd', { kind: 'text', text: 'hi you' }],
      ['secret', 'pass', { kind: 'file', path: 'pass.txt' }],
      ['secret', 'token', { kind: 'text', text: 't0k' }],
    ]);
  });

  it.each([
    [
      'configs: [siet]',
      top,
      'there is no config "siet"; declare it under "configs" at the top level; did you mean "site"?',
    ],
    ['secrets: [{target: x}]', top, 'secrets[0].source: missing'],
    [
      'secrets: [{source: pass, mode: 9}]',
      top,
      'secrets[0].mode: expected permission bits such as 0440, found the number 9',
    ],
    ['secrets: [{source: pass, uid: root}]', top, 'secrets[0].uid: expected a numeric id'],
    [
      '',
      'configs: {a: {file: x, content: y}}',
      'expected one of "file", "content" and "environment"; there are file and content',
    ],
    ['', 'configs: {a: {}}', 'none is there'],
    ['', 'secrets: {a: {environment: NOPE}}', 'the variable NOPE is not set here'],
    ['', 'secrets: {a: {external: true}}', 'a secret made outside of the file is not supported by this version'],
  ])('%s with %s is refused', (keys, declared, message) => {
    expect(problemsOf(stackWith(keys, declared), { environment }).join()).toContain(message);
  });
});

describe('depends_on', () => {
  const file = (written: string): string =>
    `services:\n  web: {image: app, depends_on: ${written}}\n  db: {image: db}\n  job: {image: job}\n`;

  it.each([
    [
      '[job, db]',
      [
        { service: 'db', condition: 'started', required: true },
        { service: 'job', condition: 'started', required: true },
      ],
    ],
    [
      '{db: {condition: service_healthy}, job: {condition: service_completed_successfully, required: false}}',
      [
        { service: 'db', condition: 'healthy', required: true },
        { service: 'job', condition: 'completed', required: false },
      ],
    ],
  ])('%s', (written, expected) => {
    expect(loadOk(file(written)).services.find(({ name }) => name === 'web')?.dependsOn).toEqual(expected);
  });

  it('says so where another restart is not done', () => {
    expect(noticesOf(file('{db: {restart: true}}')).join()).toContain(
      'an update of one service does not restart another',
    );
  });

  it('refuses a condition that is none', () => {
    expect(problemsOf(file('{db: {condition: service_helthy}}')).join()).toContain('did you mean "service_healthy"?');
  });
});

describe("what is Frota's own", () => {
  it('is read, and misspelt keys are told', () => {
    expect(loadWeb('x-frota: {drainDelay: 5s}').template.drainDelayMs).toBe(5_000);
    expect(problemsOf(webWith('x-frota: {drainDealy: 5s}')).join()).toContain('did you mean "drainDelay"?');
  });

  it('fences a service, for ten seconds or as long as is said', () => {
    expect(loadWeb('x-frota: {failover: fenced}').template.fenceLeaseMs).toBe(10_000);
    const { template } = loadWeb('x-frota: {failover: fenced, lease: 3s, drainDelay: 1s}');
    expect(template).toMatchObject({ fenceLeaseMs: 3_000, drainDelayMs: 1_000 });
    expect(loadWeb('x-frota: {drainDelay: 1s}').template).not.toHaveProperty('fenceLeaseMs');
  });

  it.each([
    ['x-frota: {failover: fast}', 'fenced'],
    ['x-frota: {lease: 10s}', 'add "failover: fenced"'],
    ['x-frota: {failover: fenced, lease: 500ms}', 'a lease is 2s to 300s'],
    ['x-frota: {failover: fenced, lease: 1h}', 'a lease is 2s to 300s'],
    ['x-frota: {failover: fenced}\ndeploy: {update_config: {order: start-first}}', 'write "stop-first"'],
    ['x-frota: {failover: fenced}\ndeploy: {rollback_config: {order: start-first}}', 'write "stop-first"'],
  ])('refuses %s', (keys, told) => {
    expect(problemsOf(webWith(keys)).join()).toContain(told);
  });

  it('gives a notice for expose', () => {
    expect(noticesOf(webWith('expose: ["80"]')).join()).toContain('without effect');
  });
});
