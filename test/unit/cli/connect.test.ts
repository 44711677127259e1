import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectControl } from '../../../cli/commands/connect.ts';
import type { Control } from '../../../cli/commands/control.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { loadOk } from '../manifest/load-text.ts';
import { aNode, aService, aTask, FakeControl, progress } from './fake-control.ts';
import { serveControl } from './real-server.ts';
import type { RealServer } from './real-server.ts';

let fake: FakeControl;
let server: RealServer;
let control: Control;
const { signal } = new AbortController();

beforeEach(async () => {
  fake = new FakeControl();
  server = await serveControl(fake);
  control = connectControl(server.context);
});

afterEach(async () => {
  control.close();
  await server.close();
});

describe('connectControl', () => {
  it('carries every call and its answer over the wire, with nothing added and nothing lost', async () => {
    const spec = loadOk(
      'services: {web: {image: "app:1", command: [], ports: [80, "1:1/udp"], restart: on-failure:2, labels: {a: b}, deploy: {resources: {limits: {cpus: 1}}}}}',
    );
    fake.tasks = [
      aTask(),
      aTask({ id: 't2', node: null, address: null, since: null, startedAt: null, exitCode: 1, reason: 'x' }),
    ];
    fake.services = [aService({ ports: [] })];
    fake.nodes = [aNode()];
    fake.scaled = [{ stack: 'hello', service: 'web', before: 0, after: 3 }];
    expect(await control.apply(spec, [], signal)).toEqual(fake.applied);
    expect(fake.calls).toEqual([{ apply: spec }]);
    expect(await control.scale([{ service: 'web', replicas: 3 }], signal)).toEqual(fake.scaled);
    expect(await control.removeStack('hello', signal)).toEqual(['web']);
    expect(await control.listServices(undefined, signal)).toEqual(fake.services);
    expect(await control.listTasks({ all: true, service: 'web' }, signal)).toEqual(fake.tasks);
    expect(await control.listNodes(signal)).toEqual(fake.nodes);
    expect(await control.version(signal)).toEqual({ version: '9.9.9', clusterId: 'c1' });
    expect((await control.createJoinToken(60, signal)).joinAddress).toBe('10.200.0.2:7401');
  });

  it('streams progress until the caller stops', async () => {
    fake.watches = [[progress({ converged: false }), progress(), 'silence']];
    const stop = new AbortController();
    const seen: boolean[] = [];
    await expect(async () => {
      for await (const { converged } of control.watchStack('hello', stop.signal)) {
        seen.push(converged);
        if (converged) stop.abort();
      }
    }).rejects.toMatchObject({ code: 'cancelled' });
    expect(seen).toEqual([false, true]);
  });

  it('keeps the code and the problems of errors', async () => {
    fake.failure = new FrotaError('invalid', 'refused', { problems: [{ where: 'web', message: 'no such tag' }] });
    await expect(control.listNodes(signal)).rejects.toMatchObject({
      code: 'invalid',
      problems: [{ where: 'web', message: 'no such tag' }],
    });
  });

  it('says that nobody is there', async () => {
    await server.close();
    await expect(control.listNodes(signal)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('refuses a damaged context', () => {
    expect(() => connectControl({ ...server.context, addresses: ['nonsense'] })).toThrow('is no address');
  });
});
