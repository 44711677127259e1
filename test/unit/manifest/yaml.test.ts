import { describe, expect, it } from 'vitest';
import { maxFileLength } from '../../../cli/manifest/yaml-tree.ts';
import { load, loadOk, noticesOf, problemsOf } from './load-text.ts';

const bomb = [
  'x-0: &a0 [x, x, x, x, x, x, x, x, x, x]',
  ...Array.from({ length: 9 }, (_, n) => `x-${String(n + 1)}: &a${String(n + 1)} [${`*a${String(n)}, `.repeat(9)}]`),
  'services: {web: {image: a}}',
].join('\n');

describe('YAML', () => {
  it.each([
    ['', '1:1: the file is empty; a Compose file starts with "services:"'],
    ['# only a comment\n', '1:1: the file is empty; a Compose file starts with "services:"'],
    ['---\n', '1:1: the file is empty; a Compose file starts with "services:"'],
    ['just text', '1:1: expected a mapping, found the string "just text"'],
    ['- a', '1:1: expected a mapping, found a list'],
    ['services:\n\tweb: {}', '2:1: not valid YAML: Tabs are not allowed as indentation'],
    [
      'services: {a: {image: x}}\n---\nservices: {}\n',
      '2:1: a second YAML document starts here; a Compose file holds one',
    ],
    ['services: {a: {image: x}}\nname: a\nname: b\n', '3:1: duplicate key "name"; it is already on line 2'],
    ['services: {a: {image: x, image: y}}', '1:26: duplicate key "image"; it is already on line 1'],
    ['services: {a: *x}', '1:15: unknown alias "*x"; no anchor "&x" precedes it'],
    ['services: &x {a: *x}', '1:18: alias "*x" refers to a value that contains it'],
    [
      'services: {web: {image: ${IMAGE:-app}, user: x}}',
      '1:26: not valid YAML: Unexpected flow-map-start at node end; within { } and [ ] a reference needs quotes: "${NAME}"',
    ],
    ['services: {a: !reset {}}', '1:15: not valid YAML: Unresolved tag: !reset'],
    ['services: {? [a] : {}}', '1:14: a key must be a string, not a list or a mapping'],
    ['services: {a: {<<: 3, image: x}}', '1:20: "<<" merges mappings'],
    [`x: "${'a'.repeat(maxFileLength)}"`, '1:1: the file is larger than 512 KiB'],
    [`x-a: ${'['.repeat(5000)}${']'.repeat(5000)}`, 'not valid YAML: it is nested too deeply'],
    [`x-a: ${'['.repeat(200)}${']'.repeat(200)}`, 'it nests deeper than 100 levels'],
    [bomb, 'it stands for more than 100000 values once its aliases are expanded'],
  ])('%.60s is refused', (text, message) => {
    expect(problemsOf(text)[0]).toContain(message);
  });

  it('tells of an unexpected token once, not of all that follows from it', () => {
    expect(problemsOf('services: {web: {image: ${IMAGE:-app}, user: x}}\nname: a\n')).toHaveLength(1);
  });

  it('is YAML with a byte order mark and Windows line ends too', () => {
    expect(loadOk('\ufeffservices:\r\n  web:\r\n    image: a\r\n').services).toHaveLength(1);
  });

  it('counts columns and lines as editors do', () => {
    expect(problemsOf('services:\r\n  web:\r\n    image: a\r\n    "é": 1\r\n')).toEqual([
      '4:5 services.web."é": unknown key',
    ]);
  });

  it('resolves anchors and merges, nearer keys first', () => {
    const text = `
x-base: &base
  image: base
  restart: "no"
  environment: &env {A: "1", B: "1"}
x-more: &more {user: more, image: more}
services:
  a:
    <<: *base
    image: own
  b:
    <<: [*base, *more]
    environment: {<<: *env, B: "2"}
`;
    const [a, b] = loadOk(text).services;
    expect(a?.template.image.reference).toBe('own');
    expect(a?.restart.condition).toBe('none');
    expect(a?.template.environment).toEqual({ A: '1', B: '1' });
    expect(b?.template).toMatchObject({ image: { reference: 'base' }, user: 'more', environment: { A: '1', B: '2' } });
  });

  it('names the anchor as the place of what it carries, once for each user', () => {
    const text = 'x-a: &a {image: x, restrat: no}\nservices:\n  b: *a\n  c: {<<: *a}\n';
    expect(problemsOf(text)).toEqual([
      '1:20 services.b.restrat: unknown key; did you mean "restart"?',
      '1:20 services.c.restrat: unknown key; did you mean "restart"?',
    ]);
  });
});

describe('the top level', () => {
  it.each([
    ['{}', '1:1 services: missing; a Compose file declares at least one service'],
    ['services: {}', '1:1 services: declares no service'],
    ['services:', '1:10 services: expected a mapping, found nothing'],
    ['services: {a: {image: x}}\ninclude: []', '2:1 include: not supported by this version of Frota'],
    ['servces: {a: {image: x}}', '1:1 servces: unknown key; did you mean "services"?'],
    ['name: Shop\nservices: {a: {image: x}}', "1:7 name: a stack's name consists of lower-case letters"],
    ['name: 3\nservices: {a: {image: x}}', '1:7 name: expected a string, found the number 3; write "3" in quotes'],
  ])('%s is refused', (text, message) => {
    expect(problemsOf(text).join('\n')).toContain(message);
  });

  it.each([
    ['name: n\n', { stackName: 'flag' }, 'flag'],
    ['name: n\n', {}, 'n'],
    ['name: ${N}\n', { environment: { N: 'env' } }, 'env'],
    ['', { directoryName: 'My App_1.2' }, 'myapp_12'],
    ['', { directoryName: '__x' }, 'x'],
  ])('%j in %j is the stack %s', (head, around, name) => {
    expect(loadOk(`${head}services: {a: {image: x}}`, around).name).toBe(name);
  });

  it('says what to do when no name can be made', () => {
    expect(problemsOf('services: {a: {image: x}}', { directoryName: '...' })).toEqual([
      '1:1: the folder\'s name makes no stack name; write "name:" at the top, or give -n',
    ]);
    expect(problemsOf('services: {a: {image: x}}', { stackName: 'No Good' }).join()).toContain(
      '"No Good" is no stack name',
    );
  });

  it('takes "version" with a notice', () => {
    const text = 'version: "3.8"\nservices: {a: {image: x}}';
    expect(load(text).kind).toBe('ok');
    expect(noticesOf(text)).toEqual(['1:1 version: obsolete and without effect; leave it out']);
  });

  it('tells all problems at once, sorted, and not without end', () => {
    const many = Array.from({ length: 300 }, (_, n) => `    k${String(n)}x: 1\n`).join('');
    const problems = problemsOf(`services:\n  web:\n    image: a\n${many}`);
    expect(problems).toHaveLength(100);
    expect(problems[0]).toContain('4:5 services.web.k0x: unknown key');
    expect(problems[99]).toContain('and 201 more problems');
  });
});
