import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { applyStack } from '../../../controller/api/apply.ts';
import type { StackPorts } from '../../../controller/api/stacks.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { monoMs, wallMs } from '../../../proto/base/clock.ts';
import { maxContentBytes, maxContentsBytes } from '../../../proto/domain/content.ts';
import type { Content } from '../../../proto/domain/content.ts';
import type { FileMount } from '../../../proto/domain/mount.ts';
import type { Stack } from '../../../proto/domain/service.ts';
import { aServiceSpec, aSnapshot, aStackSpec, aTemplate } from '../../builders/domain.ts';

const signal = new AbortController().signal;
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const content = (kind: Content['kind'], name: string, text: string): Content => ({ kind, name, bytes: bytesOf(text) });
const file = (kind: FileMount['kind'], name: string, over: Partial<FileMount> = {}): FileMount => ({
  kind,
  name,
  contentId: '',
  target: kind === 'config' ? `/${name}` : `/run/secrets/${name}`,
  ...over,
});
const stackWith = (...files: readonly FileMount[]) =>
  aStackSpec('shop', [aServiceSpec({ template: aTemplate({ files }) })]);
const idOf = ({ kind, bytes }: Content): string => `${kind}-${createHash('sha256').update(bytes).digest('hex')}`;

/** A store of one stack and its contents, that writes down the order of what is done. */
function cluster(over: Partial<StackPorts> = {}) {
  const order: string[] = [];
  const stored = new Map<string, Content>();
  let stack: { value: Stack; modRevision: number } | undefined;
  const facts = () => [...stored].map(([id, { kind }]) => ({ id, kind, writtenAtMs: 0 }));
  const ports: StackPorts = {
    snapshot: () => ({
      ...aSnapshot({ contents: facts() }),
      stacks: new Map(stack === undefined ? [] : [['shop', stack]]),
    }),
    resolveImage: (reference) => Promise.resolve({ reference, digest: `sha256:${'b'.repeat(64)}` }),
    contentId: idOf,
    putContents: (contents) => {
      order.push(`contents ${String(contents.size)}`);
      for (const [id, value] of contents) stored.set(id, value);
      return Promise.resolve();
    },
    putStack: (_name, revision, modRevision) => {
      order.push('stack');
      stack = revision === undefined ? undefined : { value: revision.stack, modRevision: modRevision + 1 };
      return Promise.resolve(true);
    },
    history: () => Promise.resolve([]),
    clock: { now: () => ({ monoMs: monoMs(0), wallMs: wallMs(5_000) }) },
    ...over,
  };
  const files = () => stack?.value.spec.services[0]?.template.files ?? [];
  return { ports, order, stored, files };
}

const problemsOf = async (work: Promise<unknown>): Promise<readonly { where: string; message: string }[]> => {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => FrotaError.from(thrown),
  );
  return error?.problems ?? [];
};

describe('configs and secrets of a stack', () => {
  it('are written before the stack that refers to them, by their ids', async () => {
    const { ports, order, files, stored } = cluster();
    const sent = [content('config', 'site', 'a: 1'), content('secret', 'token', 'pear')];
    await applyStack(ports, stackWith(file('config', 'site'), file('secret', 'token')), 'ana', signal, sent);
    expect(order).toEqual(['contents 2', 'stack']);
    expect(files().map(({ contentId }) => contentId)).toEqual(sent.map(idOf));
    expect([...stored.keys()].sort()).toEqual(sent.map(idOf).sort());
  });

  it('change nothing when they are the same, and the service when they are not', async () => {
    const { ports, order, files } = cluster();
    const stack = stackWith(file('secret', 'token'));
    await applyStack(ports, stack, 'ana', signal, [content('secret', 'token', 'pear')]);
    const again = await applyStack(ports, stack, 'ana', signal, [content('secret', 'token', 'pear')]);
    expect(again).toMatchObject({ changed: false, version: 1 });
    expect(order).toEqual(['contents 1', 'stack']);
    const before = files()[0]?.contentId;
    const rotated = await applyStack(ports, stack, 'ana', signal, [content('secret', 'token', 'plum')]);
    expect(rotated).toMatchObject({ version: 2, updated: ['web'] });
    expect(files()[0]?.contentId).not.toBe(before);
  });

  it('need not be sent again when the stack has them, and are written again when the store has lost them', async () => {
    const { ports, stored, files } = cluster();
    const stack = stackWith(file('secret', 'token'));
    const sent = [content('secret', 'token', 'pear')];
    await applyStack(ports, stack, 'ana', signal, sent);
    const { contentId } = files()[0] ?? file('secret', 'token');
    expect(await applyStack(ports, stack, 'ana', signal)).toMatchObject({ changed: false });
    const undone = stackWith(file('secret', 'token', { contentId }));
    expect(await applyStack(ports, undone, 'ana', signal)).toMatchObject({ changed: false });
    stored.clear();
    expect((await problemsOf(applyStack(ports, stack, 'ana', signal)))[0]?.where).toBe('services.web.secrets.token');
    await applyStack(ports, stack, 'ana', signal, sent);
    expect(stored.size).toBe(1);
  });

  it('are refused, all at once and naming service and secret, when their content is nowhere', async () => {
    const { ports, order } = cluster();
    const gone = file('config', 'old', { contentId: `config-${'0'.repeat(64)}`, target: '/old' });
    const problems = await problemsOf(
      applyStack(ports, stackWith(file('secret', 'token'), gone), 'ana', signal, [content('config', 'token', 'x')]),
    );
    expect(problems.map(({ where }) => where)).toEqual(['services.web.secrets.token', 'services.web.configs.old']);
    expect(problems[0]?.message).toContain('secret token neither came with the stack');
    expect(problems[1]?.message).toContain('does not have the content config-000');
    expect(order).toEqual([]);
  });

  it('that no service names are not kept', async () => {
    const { ports, stored } = cluster();
    await applyStack(ports, stackWith(), 'ana', signal, [content('secret', 'spare', 'x')]);
    expect(stored.size).toBe(0);
  });

  it('are bounded, each and together, and told without a word of what is in them', async () => {
    const { ports } = cluster();
    const large = { kind: 'secret', name: 'large', bytes: new Uint8Array(maxContentBytes + 1).fill(0x70) } as const;
    const problems = await problemsOf(
      applyStack(ports, stackWith(file('secret', 'large')), 'ana', signal, [large, { ...large, name: 'twice' }, large]),
    );
    expect(problems.map(({ where }) => where)).toEqual([
      'secrets.large', 'secrets.twice', 'secrets.large', 'secrets.large',
    ]); // prettier-ignore
    expect(problems[0]?.message).toBe(`the secret has 512001 bytes; at most 512000`);
    const many = Array.from({ length: 13 }, (_, index) => ({
      kind: 'config' as const,
      name: `c${String(index)}`,
      bytes: new Uint8Array(maxContentBytes),
    }));
    const together = await problemsOf(applyStack(ports, stackWith(), 'ana', signal, many));
    expect(together.map(({ message }) => message)).toEqual([
      `configs and secrets have ${String(13 * maxContentBytes)} bytes together; at most ${String(maxContentsBytes)} in one apply`,
    ]);
  });
});
