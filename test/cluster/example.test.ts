/** The example that `npm start` applies, as it is, with its real images made of this machine's Node.js. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureImages } from '../../cli/local/tour/images.ts';
import { command, eventually, httpGet, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';

const example = join(import.meta.dirname, '..', '..', 'examples', 'hello');
const program = join(import.meta.dirname, '..', '..', 'bin', 'frota');

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await startTestCluster('example');
  await ensureImages({
    registry: cluster.registry,
    example,
    stampFile: join(cluster.folder, 'images.json'),
    say: () => undefined,
  });
});
afterAll(() => stopTestCluster(cluster));

interface Answer {
  readonly host: string;
  readonly count: number;
  readonly counter: string;
}

describe('examples/hello', () => {
  it('runs unchanged; web finds counter by its name, on every node', async () => {
    const applied = await command(
      program,
      ['apply', '-f', join(example, 'compose.yaml'), '--wait', '--timeout', '90s'],
      {
        FROTA_CONFIG_DIR: join(cluster.folder, 'config'),
        FROTA_CONTEXT: cluster.name,
        FROTA_REGISTRY: cluster.registry,
      },
    );
    expect(applied.code, applied.stderr).toBe(0);
    const webs = new Set((await cluster.tasks('hello/web')).map((task) => task.id));
    const [counter] = await cluster.tasks('hello/counter');
    const counts: number[] = [];
    for (const node of await cluster.nodes()) {
      const answer = await eventually(
        async () => JSON.parse(await httpGet(`http://${node.address}:8080/`, 3_000)) as Answer,
      );
      expect(webs.has(answer.host)).toBe(true);
      expect(answer.counter).toBe(counter?.id);
      counts.push(answer.count);
    }
    // One counter behind all of them: its numbers only rise.
    expect(counts).toEqual([...counts].sort((a, b) => a - b));
    expect(new Set(counts).size).toBe(counts.length);
  });

  it('is the same when applied again', async () => {
    const before = await cluster.tasks();
    const again = await command(program, ['apply', '-f', join(example, 'compose.yaml'), '-o', 'json'], {
      FROTA_CONFIG_DIR: join(cluster.folder, 'config'),
      FROTA_CONTEXT: cluster.name,
      FROTA_REGISTRY: cluster.registry,
    });
    expect(JSON.parse(again.stdout)).toMatchObject({ changed: false });
    expect(await cluster.tasks()).toEqual(before);
  });
});
