import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  chooseContext,
  configFolder,
  readContexts,
  removeContext,
  upsertContext,
  useContext,
} from '../../../cli/contexts/contexts-file.ts';
import { aContext } from './fake-host.ts';

let folder: string;

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'ft-contexts-')), 'deep', 'frota');
});

afterEach(() => {
  rmSync(join(folder, '..', '..'), { recursive: true, force: true });
});

describe('configFolder', () => {
  it.each([
    [{ FROTA_CONFIG_DIR: '/a', XDG_CONFIG_HOME: '/x', HOME: '/h' }, '/a'],
    [{ FROTA_CONFIG_DIR: '', XDG_CONFIG_HOME: '/x', HOME: '/h' }, '/x/frota'],
    [{ XDG_CONFIG_HOME: 'relative', HOME: '/h' }, '/h/.config/frota'],
    [{ HOME: '/h' }, '/h/.config/frota'],
  ])('of %j is %s', (environment, expected) => {
    expect(configFolder(environment)).toBe(expected);
  });

  it('needs a home', () => {
    expect(() => configFolder({})).toThrow('set one');
  });
});

describe('the contexts file', () => {
  it('is empty before there is one', async () => {
    expect(await readContexts(folder)).toEqual({ current: null, contexts: {} });
  });

  it('keeps what is written, readable by its owner only, and leaves no other file', async () => {
    await upsertContext(folder, 'local', { ...aContext, registry: '10.200.0.2:5000' });
    expect(await readContexts(folder)).toEqual({
      current: 'local',
      contexts: { local: { ...aContext, registry: '10.200.0.2:5000' } },
    });
    expect(statSync(join(folder, 'contexts.json')).mode & 0o777).toBe(0o600);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(readdirSync(folder)).toEqual(['contexts.json']);
  });

  it('makes the first one current, then only the one that is chosen', async () => {
    await upsertContext(folder, 'a', aContext);
    await upsertContext(folder, 'b', aContext);
    expect((await readContexts(folder)).current).toBe('a');
    await useContext(folder, 'b');
    await upsertContext(folder, 'a', { ...aContext, ca: 'NEW' });
    const after = await readContexts(folder);
    expect([after.current, after.contexts['a']?.ca]).toEqual(['b', 'NEW']);
    await expect(useContext(folder, 'c')).rejects.toMatchObject({ code: 'not-found' });
  });

  it('removes, also what is not there', async () => {
    await upsertContext(folder, 'a', aContext);
    await removeContext(folder, 'a');
    await removeContext(folder, 'a');
    expect(await readContexts(folder)).toEqual({ current: null, contexts: {} });
  });

  it('loses nothing when many write at once', async () => {
    const names = Array.from({ length: 12 }, (_, n) => `c${String(n)}`);
    await Promise.all(names.map((name) => upsertContext(folder, name, aContext)));
    expect(Object.keys((await readContexts(folder)).contexts).sort()).toEqual(names.sort());
  });

  it('takes over the lock of a process that is gone, and one that is too old', async () => {
    mkdirSync(folder, { recursive: true });
    const lock = join(folder, 'contexts.json.lock');
    // Above every pid that Linux gives out.
    writeFileSync(lock, '4194305');
    await upsertContext(folder, 'a', aContext);
    writeFileSync(lock, String(process.pid));
    utimesSync(lock, new Date(0), new Date(0));
    await upsertContext(folder, 'b', aContext);
    expect(Object.keys((await readContexts(folder)).contexts)).toEqual(['a', 'b']);
    expect(readdirSync(folder)).toEqual(['contexts.json']);
  });

  it.each([
    ['{', 'not JSON'],
    ['[]', '"contexts" is missing'],
    ['{"contexts":{"a":{"addresses":[]}}}', 'context "a" lacks'],
    ['{"current":3,"contexts":{}}', '"current" is no name'],
  ])('says what is wrong with %s, and does not overwrite it', async (text, message) => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'contexts.json'), text);
    await expect(readContexts(folder)).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(message) as string,
    });
    await expect(upsertContext(folder, 'a', aContext)).rejects.toMatchObject({ code: 'corrupt' });
    expect(readFileSync(join(folder, 'contexts.json'), 'utf8')).toBe(text);
    expect(readdirSync(folder)).toEqual(['contexts.json']);
  });

  it.each(['', '../x', '__proto__', 'a b', 'x'.repeat(64)])('refuses the name %j', (name) => {
    expect(() => upsertContext(folder, name, aContext)).toThrow('is no context name');
  });
});

describe('chooseContext', () => {
  const two = { current: 'a', contexts: { a: aContext, b: aContext } };

  it.each([
    ['b', { FROTA_CONTEXT: 'a' }, 'b'],
    [undefined, { FROTA_CONTEXT: 'b' }, 'b'],
    [undefined, { FROTA_CONTEXT: '' }, 'a'],
    [undefined, {}, 'a'],
  ])('flag %s, %j: %s', (flag, environment, name) => {
    expect(chooseContext(two, flag, environment).name).toBe(name);
  });

  it.each([
    [two, 'c', {}, 'no context "c" (from --context); there are: a, b'],
    [two, undefined, { FROTA_CONTEXT: 'toString' }, 'no context "toString" (from FROTA_CONTEXT)'],
    [{ current: null, contexts: {} }, undefined, {}, 'no context yet: `frota cluster up` starts a local cluster'],
    [{ ...two, current: null }, undefined, {}, 'choose one with `frota context use NAME` (a, b)'],
    [{ ...two, current: 'gone' }, undefined, {}, 'no context "gone"; there are: a, b'],
  ])('of %j with flag %s and %j: %s', (contexts, flag, environment, message) => {
    expect(() => chooseContext(contexts, flag, environment)).toThrow(message);
  });
});
