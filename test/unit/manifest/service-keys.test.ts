import { describe, expect, it } from 'vitest';
import { defaultUpdatePolicy } from '../../../proto/domain/update.ts';
import { loadOk, loadWeb, noticesOf, problemsOf, webWith } from './load-text.ts';

describe('a service', () => {
  it('takes Compose defaults for what is not written', () => {
    expect(loadOk('services:\n  web:\n    image: app:1\n')).toEqual({
      name: 'shop',
      services: [
        {
          name: 'web',
          template: {
            image: { reference: 'app:1', digest: '' },
            environment: {},
            labels: {},
            limits: {},
            reservations: { cpuMillis: 0, memoryBytes: 0 },
            stopGracePeriodMs: 10_000,
            drainDelayMs: 0,
            mounts: [],
            files: [],
            networks: [{ network: 'shop_default', aliases: [] }],
            generation: 0,
          },
          mode: 'replicated',
          replicas: 1,
          restart: { condition: 'any' },
          ports: [],
          labels: {},
          placement: { constraints: [], spread: [] },
          update: defaultUpdatePolicy,
          rollback: defaultUpdatePolicy,
          dependsOn: [],
          pullPolicy: 'always',
        },
      ],
      networks: [{ key: 'default', name: 'shop_default', external: false, internal: false, labels: {} }],
      volumes: [],
    });
  });

  it('comes sorted by name whatever the order in the file', () => {
    const text = 'services: {b: {image: x}, a: {image: x}, A: {image: x}}';
    expect(loadOk(text).services.map(({ name }) => name)).toEqual(['A', 'a', 'b']);
  });

  it.each([
    ['services: {"a b": {image: x}}', '1:12 services."a b": a service\'s name consists of'],
    [`services: {${'a'.repeat(64)}: {image: x}}`, "a service's name consists of"],
    ['services: {web: }', '1:12 services.web: the service is empty; it needs at least "image"'],
    ['services: {web: []}', '1:17 services.web: expected a mapping, found a list'],
    ['services: {web: {user: root}}', '1:12 services.web.image: missing; write for example'],
    ['services: {web: {image: }}', '1:25 services.web.image: expected a string, found nothing'],
    [
      'services: {web: {image: "a b"}}',
      '1:25 services.web.image: "a b" is not an image reference: it contains white space',
    ],
    ['services: {web: {image: App}}', 'image names are in lower case; write "app"'],
    ['services: {web: {build: .}}', '1:18 services.web.build: not supported by this version of Frota; build the image'],
  ])('%s is refused', (text, message) => {
    const problems = problemsOf(text);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(message);
  });
});

describe('command and entrypoint', () => {
  it.each([
    ['command: sleep 60', ['sleep', '60']],
    ['command: ["sleep", "60"]', ['sleep', '60']],
    ['command: []', []],
    ['command: ""', []],
    ['command:', undefined],
    [`command: sh -c "echo 'a b'  && c"`, ['sh', '-c', "echo 'a b'  && c"]],
    [`command: a\\ b 'c\\d' "e\\"f" ""`, ['a b', 'c\\d', 'e"f', '']],
    ['command: >\n  one\n  two', ['one', 'two']],
    ['command: "echo $(date) $$HOME"', ['echo', '$(date)', '$HOME']],
  ])('%s', (keys, words) => {
    const { template } = loadWeb(keys.includes('(date)') ? keys.replace('$(', '$$$$(') : keys);
    expect(template.command).toEqual(words);
    expect('command' in template).toBe(words !== undefined);
  });

  it.each([
    ['entrypoint: a && b', '4:17 services.web.entrypoint: "&" has no meaning here'],
    ['command: cat < file', '"<" has no meaning here'],
    ['command: echo (a)', '"(" has no meaning here'],
    [`command: echo "a`, 'the " is not closed'],
    ['command: echo a\\', 'it ends with a backslash'],
    [
      'command: ["sleep", 60]',
      '4:24 services.web.command[1]: expected a string, found the number 60; write "60" in quotes',
    ],
    ['command: {a: b}', '4:14 services.web.command: expected a string or a list of strings, found a mapping'],
    ['command: true', 'expected a string or a list of strings, found the boolean true'],
    [`command: ["${'x'.repeat(131_072)}"]`, 'services.web.command[0]: longer than 131071 bytes'],
    ['command: ["a\\0b"]', 'a string may not contain a NUL character'],
  ])('%s is refused', (keys, message) => {
    const problems = problemsOf(webWith(keys));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(message);
  });
});

describe('environment and labels', () => {
  it.each([
    ['environment: {B: x, A: "1"}', { A: '1', B: 'x' }],
    ['environment: [B=x, A=1=2, C=]', { A: '1=2', B: 'x', C: '' }],
    ['environment: [A=1, A=2]', { A: '2' }],
    ['environment: {T: true, N: 1, F: 1.5, E: ""}', { E: '', F: '1.5', N: '1', T: 'true' }],
    ['environment: {SET: , UNSET: }', { SET: 'yes' }],
    ['environment: [SET, UNSET]', { SET: 'yes' }],
    ['environment: {__proto__: x}', JSON.parse('{"__proto__":"x"}') as object],
    ['environment: {}', {}],
  ])('%s', (keys, expected) => {
    const { environment } = loadWeb(keys, { environment: { SET: 'yes' } }).template;
    expect(Object.entries(environment)).toEqual(Object.entries(expected));
  });

  it('keeps labels without a value as empty ones', () => {
    expect(loadWeb('labels: [a, b=c, "d.e=f=g"]').template.labels).toEqual({ a: '', b: 'c', 'd.e': 'f=g' });
  });

  it('says that ports of a service on internal networks only are refused', () => {
    const top = 'networks: {inner: {internal: true}, deep: {internal: true}, outer: {}}';
    const ports = (networks: string): readonly string[] =>
      noticesOf(`${top}\nservices: {web: {image: i, ports: ["80:80"], networks: [${networks}]}}`);
    expect(ports('inner')).toEqual([
      '2:35 services.web.ports: connections to them are refused: its network shop_inner is internal; put the service on another network as well, or leave "ports" out',
    ]);
    expect(ports('inner, deep')[0]).toContain('its networks shop_deep, shop_inner are internal');
    expect(ports('inner, outer')).toEqual([]);
    expect(ports('')).toEqual([]);
  });

  it('says which variables nobody set', () => {
    expect(noticesOf(webWith('environment: [UNSET]'))).toEqual([
      '4:19 services.web.environment.UNSET: UNSET is not set here, so the containers do not get it',
    ]);
  });

  it('reads bare numbers as Compose does and says so where that changes them', () => {
    const keys = 'environment: {MODE: 0644, V: 1.10, BIG: 12345678901234567890}';
    expect(loadWeb(keys).template.environment).toEqual({ BIG: '12345678901234567890', MODE: '420', V: '1.1' });
    expect(noticesOf(webWith(keys))).toEqual([
      '4:25 services.web.environment.MODE: 0644 is read as 420; write "0644" in quotes to keep it',
      '4:34 services.web.environment.V: 1.10 is read as 1.1; write "1.10" in quotes to keep it',
    ]);
  });

  it.each([
    ['environment: ["=x"]', '4:19 services.web.environment: a name is missing before "="'],
    ['environment: {"A=B": c}', 'a name may not contain "="'],
    [
      'environment: {A: [b]}',
      'services.web.environment.A: expected a string, a number, a boolean or nothing, found a list',
    ],
    [
      'environment: [1]',
      '4:19 services.web.environment[0]: expected a string such as "NAME=value", found the number 1',
    ],
    ['environment: A=1', 'expected a mapping or a list of "NAME=value", found the string "A=1"'],
    ['labels: 3', 'expected a mapping or a list of "NAME=value", found the number 3'],
  ])('%s is refused', (keys, message) => {
    const problems = problemsOf(webWith(keys));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(message);
  });
});

describe('restart', () => {
  it.each([
    ['restart: no', { condition: 'none' }],
    ['restart: "no"', { condition: 'none' }],
    ['restart: false', { condition: 'none' }],
    ['restart: always', { condition: 'any' }],
    ['restart: unless-stopped', { condition: 'any' }],
    ['restart: on-failure', { condition: 'on-failure' }],
    ['restart: on-failure:3', { condition: 'on-failure', maxAttempts: 3 }],
    ['restart: on-failure:0', { condition: 'on-failure' }],
  ])('%s', (keys, policy) => {
    expect(loadWeb(keys).restart).toEqual(policy);
  });

  it('reads a bare no as YAML 1.1 does where the file asks for that', () => {
    const text = '%YAML 1.1\n---\nservices: {web: {image: app, restart: no}}\n';
    expect(loadOk(text).services[0]?.restart).toEqual({ condition: 'none' });
  });

  it.each([
    ['restart: alway', 'did you mean "always"?'],
    ['restart: true', 'expected "no", "always", "on-failure", "unless-stopped", found the boolean true'],
    ['restart: on-failure:x', 'expected "on-failure:N" with a whole number N'],
    ['restart: on-failure:1:2', 'expected "on-failure:N" with a whole number N'],
    ['restart: always:3', 'found the string "always:3"'],
  ])('%s is refused', (keys, message) => {
    expect(problemsOf(webWith(keys)).join()).toContain(message);
  });
});

describe('stop_signal', () => {
  it.each([
    ['SIGQUIT', 'SIGQUIT'],
    ['quit', 'quit'],
    ['"3"', '3'],
    ['SIGRTMIN+3', 'SIGRTMIN+3'],
    ['""', undefined],
  ])('%s', (written, signal) => {
    expect(loadWeb(`stop_signal: ${written}`).template.stopSignal).toBe(signal);
  });

  it.each([
    ['SIGFOO', '4:5 services.web.stop_signal: "SIGFOO" is no signal; write it like SIGQUIT, or its number'],
    ['"65"', '"65" is no signal'],
    ['SIGRTMAX-31', '"SIGRTMAX-31" is no signal'],
    ['3', 'expected a string, found the number 3; write "3" in quotes'],
  ])('%s is refused', (written, message) => {
    expect(problemsOf(webWith(`stop_signal: ${written}`)).join()).toContain(message);
  });
});

describe('what a service says outside of deploy', () => {
  it('counts as if it stood there', () => {
    const { replicas, template } = loadWeb(
      'scale: 3\ncpus: 0.5\nmem_limit: 67108864\nmem_reservation: 32m\npids_limit: 100',
    );
    expect(replicas).toBe(3);
    expect(template.limits).toEqual({ cpuMillis: 500, memoryBytes: 64 * 1024 ** 2, pids: 100 });
    expect(template.reservations).toEqual({ cpuMillis: 0, memoryBytes: 32 * 1024 ** 2 });
  });

  it('goes with what deploy says besides, and may say the same', () => {
    const { replicas, template } = loadWeb(
      'scale: 2\nmem_limit: 64m\npids_limit: -1\ndeploy: {replicas: 2, resources: {limits: {cpus: "1", memory: 64M}, reservations: {cpus: "0.25"}}}',
    );
    expect(replicas).toBe(2);
    expect(template.limits).toEqual({ cpuMillis: 1_000, memoryBytes: 64 * 1024 ** 2 });
    expect(template.reservations).toEqual({ cpuMillis: 250, memoryBytes: 0 });
  });

  it.each([
    [
      'scale: 3\ndeploy: {replicas: 2}',
      '4:5 services.web.scale: says something else than deploy.replicas; write one of the two',
    ],
    [
      'mem_limit: 1g\ndeploy: {resources: {limits: {memory: 2g}}}',
      'services.web.mem_limit: says something else than deploy.resources.limits.memory',
    ],
    [
      'cpus: 2\ndeploy: {resources: {limits: {cpus: "1"}}}',
      'services.web.cpus: says something else than deploy.resources.limits.cpus',
    ],
    ['pids_limit: 9\ndeploy: {resources: {limits: {pids: 8}}}', 'services.web.pids_limit: says something else than'],
    [
      'mem_reservation: 9m\ndeploy: {resources: {reservations: {memory: 8m}}}',
      'services.web.mem_reservation: says something else than',
    ],
    [
      'scale: 2\ndeploy: {mode: global}',
      'services.web.scale: a global service has one task on each node; leave it out',
    ],
    ['mem_limit: 8m\nmem_reservation: 9m', 'services.web.mem_reservation: reserves more memory than the limit allows'],
    [
      'cpus: 0.5\ndeploy: {resources: {reservations: {cpus: "1"}}}',
      'services.web.cpus: reserves more cpus than the limit allows',
    ],
    ['mem_limit: 1k', 'services.web.mem_limit: 1k is too little to start a container; write 6M or more'],
    ['cpus: lots', 'services.web.cpus: expected a number of cores such as "0.5"'],
    ['scale: -1', 'services.web.scale: '],
    ['pids_limit: many', 'services.web.pids_limit: '],
  ])('%s is refused', (keys, message) => {
    expect(problemsOf(webWith(keys)).join()).toContain(message);
  });
});

describe('pull_policy', () => {
  it.each([
    ['always', 'always'],
    ['missing', 'missing'],
    ['if_not_present', 'missing'],
  ])('%s', (written, policy) => {
    expect(loadWeb(`pull_policy: ${written}`).pullPolicy).toBe(policy);
  });

  it('is always where nothing is written', () => {
    expect(loadWeb('user: "1"').pullPolicy).toBe('always');
  });

  it.each([
    ['never', '4:18 services.web.pull_policy: "never" is not supported; every image comes from a registry here'],
    ['build', '"build" is not supported; build the image'],
    ['daily', '"daily" is not supported; a tag is asked for at an apply only'],
    ['every_12h', '"every_12h" is not supported; a tag is asked for at an apply only'],
    ['mising', '"mising" is no pull policy; did you mean "missing"?'],
    ['constructor', '"constructor" is no pull policy; write "always" or "missing"'],
    ['[always]', 'expected a string'],
  ])('%s is refused', (written, message) => {
    expect(problemsOf(webWith(`pull_policy: ${written}`)).join()).toContain(message);
  });
});

describe('user, working_dir and stop_grace_period', () => {
  it('takes them over', () => {
    const { user, workingDir, stopGracePeriodMs } = loadWeb(
      'user: "1000:1000"\nworking_dir: /srv\nstop_grace_period: 1m30s',
    ).template;
    expect({ user, workingDir, stopGracePeriodMs }).toEqual({
      user: '1000:1000',
      workingDir: '/srv',
      stopGracePeriodMs: 90_000,
    });
  });

  it.each([
    ['stop_grace_period: 0s', 0],
    ['stop_grace_period: "0"', 0],
    ['stop_grace_period: 1.5s', 1500],
    ['stop_grace_period: 500ms', 500],
    ['stop_grace_period: 1h', 3_600_000],
    ['stop_grace_period: 10us', 1],
  ])('%s', (keys, ms) => {
    expect(loadWeb(keys).template.stopGracePeriodMs).toBe(ms);
  });

  it.each([
    ['stop_grace_period: 10', 'expected a duration such as "10s" or "1m30s", found the number 10'],
    ['stop_grace_period: "10"', 'found the string "10"'],
    ['stop_grace_period: -1s', 'found the string "-1s"'],
    ['stop_grace_period: 61m', 'longer than 1h'],
    ['user: a b', '4:5 services.web.user: "a b" is no user'],
    [`labels: {a.b: ${'x'.repeat(17_000)}}`, '4:5 services.web.labels: the value of label a.b takes 17000 bytes'],
    ['user: 1000', '4:11 services.web.user: expected a string, found the number 1000; write "1000" in quotes'],
    ['working_dir: srv', 'expected an absolute path, found "srv"; write "/srv"'],
  ])('%s is refused', (keys, message) => {
    expect(problemsOf(webWith(keys)).join()).toContain(message);
  });
});
