import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { imageProblem } from '../../cli/commands/image-reference.ts';
import { run } from '../../cli/commands/program.ts';
import type { Host } from '../../cli/commands/host.ts';
import { loadComposeFile } from '../../cli/manifest/load.ts';
import type { ComposeResult } from '../../cli/manifest/load.ts';
import { problemText } from '../../cli/manifest/problem.ts';
import { coloursFor } from '../../cli/render/colours.ts';
import { errorText } from '../../cli/render/error.ts';
import { ManifestError } from '../../cli/render/manifest-error.ts';

const folder = join(import.meta.dirname, 'compose');
const textOf = (file: string): string => readFileSync(join(folder, file), 'utf8');
const plain = coloursFor(false, {});

const load = (file: string, environment: Record<string, string>): ComposeResult =>
  loadComposeFile({ file, text: textOf(file), environment, directoryName: 'golden', imageProblem });

describe('what people see', () => {
  it('every supported key, loaded', async () => {
    const result = load('everything.yaml', { WHO: 'you', HOST_NAME: 'here' });
    const notices = result.notices.map((notice) => `${problemText(notice)}\n`).join('');
    await expect(notices).toMatchFileSnapshot('compose/everything.notices.txt');
    const loaded = result.kind === 'ok' ? { spec: result.spec, contents: result.contents } : result.problems;
    await expect(`${JSON.stringify(loaded, null, 2)}\n`).toMatchFileSnapshot('compose/everything.spec.txt');
  });

  it('every kind of problem, shown in its line', async () => {
    const result = load('problems.yaml', {});
    if (result.kind === 'ok') throw new Error('it was not refused');
    const error = new ManifestError('problems.yaml', result.problems, textOf('problems.yaml'));
    await expect(errorText(error, plain)).toMatchFileSnapshot('compose/problems.txt');
  });

  it('the help of every verb', async () => {
    let out = '';
    const host: Host = {
      terminal: {
        out: (text) => {
          out += text;
        },
        err: () => undefined,
        write: () => Promise.resolve(),
        person: () => undefined,
        outColours: plain,
        errColours: plain,
        live: () => Promise.resolve(undefined),
      },
      environment: {},
      cwd: folder,
      signal: new AbortController().signal,
      nowMs: () => 0,
      stdin: () => {
        throw new Error('help reads nothing');
      },
      connect: () => Promise.reject(new Error('help asks nobody')),
    };
    const verbs =
      'apply,ls,ps,scale,rm,events,inspect,node,node ls,registry,registry login,registry logout,registry ls,drill,drill run,drill ls,drill show,drill stop,cluster,cluster up,cluster down,cluster token,context,context ls,context use,version';
    for (const verb of ['', ...verbs.split(',')]) {
      out += `$ frota ${`${verb} --help`.trim()}\n`;
      expect(await run([...verb.split(' ').filter((word) => word !== ''), '--help'], host)).toBe(0);
    }
    await expect(out).toMatchFileSnapshot('help.txt');
  });
});
