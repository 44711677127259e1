import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CommandLine } from './fake-host.ts';

let line: CommandLine;
beforeEach(async () => {
  line = new CommandLine();
  await line.addContext();
});
afterEach(() => {
  expect(line.control.open).toBe(0);
  line.remove();
});

/** A terminal whose keys are what standard input holds; says when it is raw. */
function atTerminal(): { raw: boolean } {
  const state = { raw: false };
  line.person = {
    size: () => ({ columns: 80, rows: 24 }),
    onResize: () => () => undefined,
    raw: () => {
      state.raw = true;
      return () => {
        state.raw = false;
      };
    },
  };
  return state;
}

describe('registry login', () => {
  it('reads the password from standard input, without the line break, and never shows it', async () => {
    line.stdin = 'pa ss:wörd\n';
    expect(await line.run('registry', 'login', 'r.test:5000', '-u', 'ana', '--password-stdin')).toBe(0);
    const request = { host: 'r.test:5000', username: 'ana', password: 'pa ss:wörd', check: true };
    expect(line.control.calls).toEqual([{ registryLogin: request }]);
    expect(line.out).toBe('r.test:5000: the cluster pulls as ana\n');
    expect(line.out + line.err).not.toContain('wörd');
    await line.run('registry', 'login', 'r.test', '-u', 'ana', '--password-stdin', '--no-check', '-o', 'json');
    expect(line.json()).toEqual({ registry: 'r.test', username: 'ana', checked: false });
  });

  it('asks at a terminal, shows the user and hides the password, and leaves the terminal as it was', async () => {
    const terminal = atTerminal();
    line.stdin = 'anq\u007fa\rhidén\r';
    expect(await line.run('registry', 'login', 'r.test')).toBe(0);
    expect(line.control.calls).toMatchObject([{ registryLogin: { username: 'ana', password: 'hidén' } }]);
    expect(line.err).toBe('User: anq\b \ba\r\nPassword: \r\n');
    expect(terminal.raw).toBe(false);
  });

  it.each([
    ['Ctrl-C', 'ana\rhi\u0003', 130],
    ['the end of input', 'ana\rhi', 130],
  ])('gives up at %s', async (_, keys, status) => {
    const terminal = atTerminal();
    line.stdin = keys;
    expect(await line.run('registry', 'login', 'r.test')).toBe(status);
    expect(line.control.calls).toEqual([]);
    expect(terminal.raw).toBe(false);
  });

  it('says what is missing where nobody can be asked', async () => {
    expect(await line.run('registry', 'login', 'r.test', '-u', 'ana')).toBe(2);
    expect(line.err).toContain('add --password-stdin');
    expect(await line.run('registry', 'login', 'r.test', '--password-stdin')).toBe(2);
    expect(line.err).toContain('add -u USER');
    expect(line.control.calls).toEqual([]);
  });
});

it('lists hosts and users, and logs out', async () => {
  line.control.registries = [{ host: 'r.test:5000', username: 'ana' }];
  await line.run('registry', 'ls');
  expect(line.out).toBe('REGISTRY      USER\nr.test:5000   ana\n');
  await line.run('registry', 'ls', '-o', 'json');
  expect(line.json()).toEqual([{ registry: 'r.test:5000', username: 'ana' }]);
  expect(await line.run('registry', 'logout', 'r.test:5000')).toBe(0);
  expect(line.control.calls.at(-1)).toEqual({ registryLogout: 'r.test:5000' });
});
