/**
 * A registry that stalls, breaks off, lies, is busy or leads in circles: a pull ends in bounded time with the image, the registry
 * and the layer named, is tried again where that may help, leaves nothing, and works once the registry does. Needs root.
 */
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createImages } from '../../../agent/images/create-images.ts';
import type { ErrorCode, FrotaError } from '../../../proto/base/errors.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { writeImage } from '../../builders/oci-image.ts';
import type { BuiltImage } from '../../builders/oci-image.ts';
import { startRegistry } from '../../builders/registry.ts';
import type { Registry } from '../../builders/registry.ts';

let dir: string;
let registry: Registry;
let built: BuiltImage;
let digest: string;
const content = 'x'.repeat(3_000_000);
const never = new AbortController().signal;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ft-bad-registry-'));
  registry = await startRegistry();
  const entries = [{ type: 'file', path: 'content', content }] as const;
  // Not compressed: there are bytes enough to break off in.
  built = await writeImage(join(dir, 'layout'), { layers: [{ entries, compression: 'none' }] });
  digest = await registry.push(built.dir, 'app:1');
});
afterAll(async () => {
  await registry.stop();
  await rm(dir, { recursive: true, force: true });
});

type Part = 'manifest' | 'layer';
interface Served {
  readonly response: ServerResponse;
  readonly bytes: Buffer;
  /** As it should be. */
  readonly type: string;
  /** How often this part was asked for before. */
  readonly asked: number;
  readonly url: string;
}
/** `pass`: this time it is served as it should be. */
type Fault = (served: Served) => 'spoilt' | 'pass';

/** Stands before the good registry; `part` of what that serves is spoilt until `heal`. */
async function spoilt(part: Part, fault: Fault) {
  const state = { asked: 0, healed: false };
  const server = createServer((request, response) => {
    void (async () => {
      const url = request.url ?? '';
      const answer = await fetch(`${registry.url}${url}`, { headers: { accept: request.headers.accept ?? '*/*' } });
      const bytes = Buffer.from(await answer.arrayBuffer());
      const type = answer.headers.get('content-type') ?? '';
      const isIt = url.includes(part === 'manifest' ? '/manifests/' : (built.layers[0]?.digest ?? ''));
      if (isIt && !state.healed && fault({ response, bytes, type, asked: state.asked++, url }) === 'spoilt') return;
      response.writeHead(answer.status, { 'content-type': type, 'content-length': bytes.length }).end(bytes);
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    state,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Announces `length` bytes, sends `sent` of them and then does what `then` says. */
const cut =
  (length: (size: number) => number, sent: (size: number) => number, then: 'break off' | 'stall' | 'end'): Fault =>
  ({ response, bytes, type }) => {
    const body = Buffer.concat([bytes, Buffer.alloc(1000)]).subarray(0, sent(bytes.length));
    response.writeHead(200, { 'content-type': type, 'content-length': length(bytes.length) });
    if (then === 'end') response.end(body);
    else response.write(body, () => then === 'break off' && response.destroy());
    return 'spoilt';
  };
const whole = (size: number): number => size;
const refuse =
  (status: number, headers: Readonly<Record<string, string>> = {}): Fault =>
  ({ response }) => {
    response.writeHead(status, headers).end('{}');
    return 'spoilt';
  };
const stall: Fault = () => 'spoilt';
const circle: Fault = ({ response, url }) => {
  response.writeHead(307, { location: url }).end();
  return 'spoilt';
};

/** Attempts of one request, and the longest time they may take in all (see `proto/oci/retry.ts`). */
interface Failing {
  readonly name: string;
  readonly part: Part;
  readonly fault: Fault;
  readonly code: ErrorCode;
  readonly message: RegExp;
  readonly withinMs: number;
  /** How often the part is asked for. */
  readonly asked: number;
}
const failing: readonly Failing[] = [
  // Slow ones first: they run beside each other.
  { name: 'a layer stalls after a few bytes', part: 'layer', fault: cut(whole, () => 100, 'stall'), code: 'unavailable', message: /the transfer stalled for 15 s/, withinMs: 40_000, asked: 2 },
  { name: 'a layer is never answered', part: 'layer', fault: stall, code: 'unavailable', message: /connected, but no answer within 10 s/, withinMs: 30_000, asked: 2 },
  { name: 'a manifest is never answered', part: 'manifest', fault: stall, code: 'unavailable', message: /no answer within \d+ s/, withinMs: 25_000, asked: 2 },
  { name: 'a manifest stalls after a few bytes', part: 'manifest', fault: cut(whole, () => 100, 'stall'), code: 'unavailable', message: /no answer within \d+ s|stalled for 15 s/, withinMs: 25_000, asked: 2 },
  { name: 'a layer breaks off', part: 'layer', fault: cut(whole, () => 1000, 'break off'), code: 'unavailable', message: /the connection broke off/, withinMs: 10_000, asked: 5 },
  { name: 'a manifest breaks off', part: 'manifest', fault: cut(whole, () => 100, 'break off'), code: 'unavailable', message: /the connection broke off/, withinMs: 10_000, asked: 5 },
  { name: 'a layer is announced too short', part: 'layer', fault: cut((size) => size - 100, (size) => size - 100, 'end'), code: 'corrupt', message: /bytes long, the registry serves \d+; push the image again/, withinMs: 5_000, asked: 1 },
  { name: 'a layer is announced too long', part: 'layer', fault: cut((size) => size + 100, (size) => size + 100, 'end'), code: 'corrupt', message: /bytes long, the registry serves \d+; push the image again/, withinMs: 5_000, asked: 1 },
  { name: 'a manifest is announced too short', part: 'manifest', fault: cut((size) => size - 10, (size) => size - 10, 'end'), code: 'corrupt', message: /served other bytes than/, withinMs: 5_000, asked: 1 },
  { name: 'a manifest is announced too long', part: 'manifest', fault: cut((size) => size + 10, whole, 'break off'), code: 'unavailable', message: /the connection broke off/, withinMs: 10_000, asked: 5 },
  { name: 'a layer is busy for longer than anybody waits', part: 'layer', fault: refuse(429, { 'retry-after': '600' }), code: 'unavailable', message: /limits the rate of pulls/, withinMs: 5_000, asked: 1 },
  { name: 'a manifest is busy all the time', part: 'manifest', fault: refuse(503, { 'retry-after': '0' }), code: 'unavailable', message: /fails to serve .* HTTP status 503/, withinMs: 10_000, asked: 5 },
  { name: 'a layer fails all the time', part: 'layer', fault: refuse(500), code: 'unavailable', message: /fails to serve .* HTTP status 500/, withinMs: 10_000, asked: 5 },
  { name: 'a layer is redirected in a circle', part: 'layer', fault: circle, code: 'unavailable', message: /redirects in circles/, withinMs: 10_000, asked: 30 },
  { name: 'a manifest is redirected in a circle', part: 'manifest', fault: circle, code: 'unavailable', message: /redirects in circles/, withinMs: 10_000, asked: 30 },
]; // prettier-ignore

test.concurrent.each(failing)('$name', async ({ part, fault, code, message, withinMs, asked }) => {
  const node = await nodeBehind(part, fault);
  try {
    const startedAt = performance.now();
    const outcome: unknown = await node.ensure().catch((error: unknown) => error);
    expect(performance.now() - startedAt).toBeLessThan(withinMs);
    expect(outcome).toMatchObject({ code });
    expect((outcome as FrotaError).message).toMatch(message);
    for (const named of [node.proxy.host, 'app', ...(part === 'layer' ? [built.layers[0]?.digest] : [digest])]) {
      expect((outcome as FrotaError).message).toContain(named);
    }
    expect(node.proxy.state.asked).toBe(asked);
    expect(await node.files()).toEqual([]);
    node.proxy.state.healed = true;
    const { lowerDirs } = await node.ensure();
    expect(await readFile(join(lowerDirs[0] ?? '', 'content'), 'utf8')).toBe(content);
  } finally {
    await node.close();
  }
});

const passing: readonly (readonly [string, Part, Fault, number])[] = [
  ['a layer is busy and says for how long', 'layer', ({ asked, ...served }) => (asked < 2 ? refuse(429, { 'retry-after': '1' })({ asked, ...served }) : 'pass'), 2_000],
  ['a manifest fails for a while', 'manifest', ({ asked, ...served }) => (asked < 3 ? refuse(500)({ asked, ...served }) : 'pass'), 300],
  ['a layer breaks off twice', 'layer', ({ asked, ...served }) => (asked < 2 ? cut(whole, (size) => size >> 1, 'break off')({ asked, ...served }) : 'pass'), 0],
]; // prettier-ignore

test.concurrent.each(passing)('%s: the same pull ends well', async (_name, part, fault, atLeastMs) => {
  const node = await nodeBehind(part, fault);
  try {
    const startedAt = performance.now();
    const { lowerDirs } = await node.ensure();
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(atLeastMs);
    expect(await readFile(join(lowerDirs[0] ?? '', 'content'), 'utf8')).toBe(content);
  } finally {
    await node.close();
  }
});

/** An empty node that pulls through a registry of its own. */
async function nodeBehind(part: Part, fault: Fault) {
  const proxy = await spoilt(part, fault);
  const dataDir = await mkdtemp(join(dir, 'data-'));
  const images = await createImages({ dataDir, logger: silentLogger });
  return {
    proxy,
    ensure: () => images.ensure({ reference: `${proxy.host}/app:1`, digest }, { signal: never }),
    files: async () => {
      const found = await readdir(dataDir, { recursive: true, withFileTypes: true });
      return found.filter((each) => !each.isDirectory()).map((each) => each.name);
    },
    close: async () => {
      await images.close();
      await proxy.close();
    },
  };
}
