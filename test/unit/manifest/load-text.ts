import { imageProblem } from '../../../cli/commands/image-reference.ts';
import { loadComposeFile } from '../../../cli/manifest/load.ts';
import type { ComposeResult } from '../../../cli/manifest/load.ts';
import { problemText } from '../../../cli/manifest/problem.ts';
import type { ServiceSpec, StackSpec } from '../../../proto/domain/service.ts';

interface Around {
  readonly environment?: Readonly<Record<string, string>>;
  readonly stackName?: string;
  readonly directoryName?: string;
}

/** Loads a text as `compose.yaml` in a folder `shop`. */
export function load(text: string, around: Around = {}): ComposeResult {
  const { environment = {}, directoryName = 'shop', stackName } = around;
  return loadComposeFile({
    file: 'compose.yaml',
    text,
    environment,
    directoryName,
    imageProblem,
    ...(stackName !== undefined && { stackName }),
  });
}

/** The stack, or an error that shows the problems. */
export function loadOk(text: string, around: Around = {}): StackSpec {
  const result = load(text, around);
  if (result.kind === 'ok') return result.spec;
  throw new Error(`refused:\n${result.problems.map(problemText).join('\n')}`);
}

/** The service `web` with an image and these further keys, each line indented as in a service. */
export const webWith = (keys: string): string =>
  `services:\n  web:\n    image: app\n${keys
    .split('\n')
    .map((line) => `    ${line}\n`)
    .join('')}`;

export function loadWeb(keys: string, around: Around = {}): ServiceSpec {
  const [web] = loadOk(webWith(keys), around).services;
  if (web === undefined) throw new Error('no service was loaded');
  return web;
}

/** The problems as people see them, without the file's name; empty when the file loads. */
export function problemsOf(text: string, around: Around = {}): readonly string[] {
  const result = load(text, around);
  return result.kind === 'ok'
    ? []
    : result.problems.map((problem) => problemText(problem).slice('compose.yaml:'.length));
}

export const noticesOf = (text: string, around: Around = {}): readonly string[] =>
  load(text, around).notices.map((notice) => problemText(notice).slice('compose.yaml:'.length));
