import { describe, expect, it } from 'vitest';
import { applyStack } from '../../../controller/api/apply.ts';
import { restartServices, stackHistory, undoStack } from '../../../controller/api/rollouts.ts';
import { removeStack, scaleServices } from '../../../controller/api/stacks.ts';
import { revisionsKept } from '../../../proto/domain/revision.ts';
import type { ServiceSpec } from '../../../proto/domain/service.ts';
import { aRollout, aService, aServiceSpec, aStackSpec, aTemplate } from '../../builders/domain.ts';
import { digest, stacks } from './stack-store.ts';

const signal = new AbortController().signal;
const isoTime = (ms: number): string => new Date(ms).toISOString();
const tagged = (tag: string): ServiceSpec =>
  aServiceSpec({ template: aTemplate({ image: { reference: `registry.test/web:${tag}`, digest: '' } }) });
const api = aServiceSpec({ name: 'api' });
const kindsOf = async (store: ReturnType<typeof stacks>) =>
  (await stackHistory(store.ports, 'shop', undefined, isoTime)).map(({ version, kind, by, differences }) => [
    version,
    kind,
    by,
    ...differences,
  ]);

/** `shop` with versions 1 and 2 of its `web`. */
async function twoVersions() {
  const store = stacks();
  await applyStack(store.ports, aStackSpec('shop', [tagged('1'), api]), 'ana', signal);
  await applyStack(store.ports, aStackSpec('shop', [tagged('2'), api]), 'bo', signal);
  const spec = () => store.stored.get('shop')?.value.spec.services.find(({ name }) => name === 'web');
  return { ...store, store, spec };
}

describe('history', () => {
  it('tells every accepted version with who, how and what it changed, newest first', async () => {
    const { store, ports } = await twoVersions();
    await scaleServices(ports, [{ stack: 'shop', service: 'web', replicas: 3 }], 'cy');
    await restartServices(ports, ['shop/web'], 'di');
    await undoStack(ports, 'shop', 1, 'ed');
    expect(await kindsOf(store)).toEqual([
      [5, 'undo', 'ed', 'web: image registry.test/web:2 -> registry.test/web:1', 'web: replicas 3 -> 1'],
      [4, 'restart', 'di', 'web: restarted'],
      [3, 'scale', 'cy', 'web: replicas 1 -> 3'],
      [2, 'apply', 'bo', 'web: image registry.test/web:1 -> registry.test/web:2'],
      [1, 'apply', 'ana', '+ service api', '+ service web'],
    ]);
    const [newest] = await stackHistory(ports, 'shop', undefined, isoTime);
    expect(newest).toMatchObject({ current: true, restores: 1, at: '1970-01-01T00:00:05.000Z' });
    expect(newest?.services).toBeUndefined();
  });

  it('tells of one version what it declares', async () => {
    const { ports } = await twoVersions();
    const [first] = await stackHistory(ports, 'shop', 1, isoTime);
    expect(first?.services).toEqual([
      { name: 'api', mode: 'replicated', image: 'registry.test/web:1', digest, replicas: 1 },
      { name: 'web', mode: 'replicated', image: 'registry.test/web:1', digest, replicas: 1 },
    ]);
    await expect(stackHistory(ports, 'shop', 7, isoTime)).rejects.toThrow(/version 7 is not kept; kept are 1 to 2/);
    await expect(stackHistory(ports, 'shup', undefined, isoTime)).rejects.toThrow(/no stack "shup"/);
  });

  it('grows by nothing that changes nothing', async () => {
    const { ports, history } = await twoVersions();
    await applyStack(ports, aStackSpec('shop', [tagged('2'), api]), 'bo', signal);
    await scaleServices(ports, [{ stack: 'shop', service: 'web', replicas: 1 }], 'bo');
    expect(history.get('shop')).toHaveLength(2);
    await removeStack(ports, 'shop');
    expect(history.size).toBe(0);
  });
});

describe('undo', () => {
  it('declares the version before anew, as a new one, and again leads back', async () => {
    const { ports, spec, stored } = await twoVersions();
    expect(await undoStack(ports, 'shop', undefined, 'cy')).toMatchObject({
      version: 3,
      restores: 1,
      changed: true,
      updated: ['web'],
      unchanged: ['api'],
    });
    expect(spec()?.template.image.reference).toBe('registry.test/web:1');
    expect(stored.get('shop')?.value).toMatchObject({ version: 3, declaredVersion: 3, appliedBy: 'cy' });
    await undoStack(ports, 'shop', undefined, 'cy');
    expect(spec()?.template.image.reference).toBe('registry.test/web:2');
  });

  it('of a restart changes nothing: what was restarted stays so', async () => {
    const { ports, spec } = await twoVersions();
    await restartServices(ports, ['web'], 'cy');
    expect(await undoStack(ports, 'shop', undefined, 'cy')).toMatchObject({ changed: false, version: 3 });
    expect(spec()?.template.generation).toBe(1);
  });

  it('of the first version, and of one that is not kept, is refused', async () => {
    const { ports } = stacks();
    await applyStack(ports, aStackSpec(), 'ana', signal);
    await expect(undoStack(ports, 'shop', undefined, 'cy')).rejects.toThrow(
      /no version before the first; kept are 1 to 1/,
    );
    await expect(undoStack(ports, 'shop', 9, 'cy')).rejects.toThrow(/version 9 is not kept/);
  });

  it('is refused where another stack has taken a port meanwhile', async () => {
    const { ports } = stacks();
    const port = { target: 80, published: 8080, protocol: 'tcp' as const };
    await applyStack(ports, aStackSpec('shop', [aServiceSpec({ ports: [port] })]), 'ana', signal);
    await applyStack(ports, aStackSpec('shop', [aServiceSpec()]), 'ana', signal);
    await applyStack(ports, aStackSpec('blog', [aServiceSpec({ ports: [port] })]), 'ana', signal);
    await expect(undoStack(ports, 'shop', undefined, 'cy')).rejects.toThrow(/8080.*blog/);
  });

  it('keeps the configs it may need, and is refused where one is gone', async () => {
    const { ports, stored, contents } = stacks({ contentId: ({ name }) => `config-${name}` });
    const mounting = (name: string) =>
      aStackSpec('shop', [
        aServiceSpec({
          template: aTemplate({ files: [{ kind: 'config', name, contentId: '', target: '/etc/site' }] }),
        }),
      ]);
    for (const name of ['old', 'new']) {
      const sent = [{ kind: 'config' as const, name, bytes: new Uint8Array() }];
      await applyStack(ports, mounting(name), 'ana', signal, sent);
      contents.push({ id: `config-${name}`, kind: 'config', writtenAtMs: 0 });
    }
    const kept = () => stored.get('shop')?.value.keptContents;
    expect(kept()).toEqual([
      { contentId: 'config-old', version: 1 },
      { contentId: 'config-new', version: 2 },
    ]);
    for (let version = 3; version <= revisionsKept + 1; version += 1) {
      await scaleServices(ports, [{ stack: 'shop', service: 'web', replicas: version }], 'ana');
    }
    expect(kept()).toEqual([{ contentId: 'config-new', version: revisionsKept + 1 }]);
    contents.shift();
    await expect(undoStack(ports, 'shop', 1, 'cy')).rejects.toThrow(/config old is no longer kept; apply the file/);
  });
});

describe('restart', () => {
  it('raises the generation of what is named, however it is written, and declares nothing else anew', async () => {
    const { ports, stored } = await twoVersions();
    const generations = () => stored.get('shop')?.value.spec.services.map(({ template }) => template.generation);
    expect(await restartServices(ports, ['shop_web'], 'cy')).toEqual([
      { stack: 'shop', version: 3, services: ['web'] },
    ]);
    expect(generations()).toEqual([0, 1]);
    expect(await restartServices(ports, ['shop', 'web'], 'cy')).toMatchObject([{ services: ['api', 'web'] }]);
    expect(generations()).toEqual([1, 2]);
    expect(stored.get('shop')?.value).toMatchObject({ version: 4, declaredVersion: 2 });
    await expect(restartServices(ports, ['wob'], 'cy')).rejects.toThrow(/no service "wob"/);
  });

  it('is not undone by the next apply of the same file', async () => {
    const { ports, spec } = await twoVersions();
    await restartServices(ports, ['web'], 'cy');
    expect(await applyStack(ports, aStackSpec('shop', [tagged('2'), api]), 'bo', signal)).toMatchObject({
      changed: false,
    });
    expect(spec()?.template.generation).toBe(1);
  });
});

it.each(['paused', 'rolled-back', 'rollback-paused'] as const)(
  'apply of the same file tries an update again that is %s; so does undo to what is declared',
  async (state) => {
    const { store, ports, services } = await twoVersions();
    services.push(aService({ rollout: aRollout({ state }) }));
    const same = aStackSpec('shop', [tagged('2'), api]);
    expect(await applyStack(ports, same, 'bo', signal)).toMatchObject({ changed: true, version: 3, updated: ['web'] });
    expect((await kindsOf(store))[0]).toEqual([3, 'apply', 'bo', 'web: tried again']);
    expect(await undoStack(ports, 'shop', 3, 'bo')).toMatchObject({ changed: true, version: 4 });
  },
);
