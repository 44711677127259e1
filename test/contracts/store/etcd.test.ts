/** The store on a real etcd: the contract, then what only etcd can do to a store. */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { loadOrCreateAuthority } from '../../../controller/security/authority.ts';
import { takeLeadership } from '../../../controller/store/cluster-record.ts';
import { commitChanges } from '../../../controller/store/commit.ts';
import { openEtcdStore } from '../../../controller/store/etcd/etcd-store.ts';
import type { EtcdStoreOptions } from '../../../controller/store/etcd/etcd-store.ts';
import { maxKeyBytes, maxOperations, maxTransactionBytes } from '../../../controller/store/store.ts';
import type { Store, Transaction, WatchBatch } from '../../../controller/store/store.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { startEtcd, startEtcds } from '../../builders/etcd.ts';
import type { Etcd } from '../../builders/etcd.ts';
import { collect, describeStore, only, put, remove, valueText } from './store-contract.ts';

const logger = silentLogger;
/** Several starts of etcd, waits of 5 s for one that hangs; and the machine is shared. */
const timeoutMs = 180_000;
let etcd: Etcd;
let opened: Store[] = [];
let prefixes = 0;

beforeAll(async () => {
  etcd = await startEtcd();
});
afterAll(() => etcd.stop());

/** Each on keys of its own, unless told otherwise. */
async function open(options: Partial<EtcdStoreOptions> = {}): Promise<Store> {
  prefixes += 1;
  const endpoints = { secure: false, addresses: [etcd.address] };
  const store = await openEtcdStore({ endpoints, logger, prefix: `/test-${String(prefixes)}/`, ...options });
  opened.push(store);
  return store;
}

async function closeAll(): Promise<void> {
  for (const store of opened) await store.close();
  opened = [];
}

const failure = (promise: Promise<unknown>): Promise<FrotaError> =>
  promise.then(
    () => new FrotaError('internal', 'nothing was thrown'),
    (error: unknown) => FrotaError.from(error),
  );

describeStore({ name: 'etcd', create: () => open(), cleanUp: closeAll, rounds: 50 });

describe('store on etcd', () => {
  afterEach(closeAll);

  it('shares an etcd with others: sees nothing of theirs, and waits for no revision of theirs', async () => {
    const store = await open({ prefix: '/ours/' });
    const other = await open({ prefix: '/ours' });
    await store.commit([only(put('a', '1'))]);
    const { revision } = await store.range('');
    const watching = collect(store, '', revision, () => true);
    // Just before and just behind ours: `/ours.` and `/ours0` on both sides of `/ours/`.
    await other.commit([only(put('.', '1'), put('0', '1'))]);
    await other.commit([only(remove('0'))]);
    const [nothing] = await store.commit([only(remove('none'))]);
    expect(nothing).toEqual({ kind: 'committed', revision });
    await store.commit([only(put('c', '1'))]);
    expect((await watching).flatMap(({ changes }) => changes)).toMatchObject([{ entry: { key: 'c' } }]);
    expect((await store.range('')).entries.map(({ key }) => key)).toEqual(['a', 'c']);
  });

  it('sends independent transactions together, and dependent ones one after the other', async () => {
    const store = await open();
    await store.commit([only(put('fence', '1'))]);
    const { revision } = await store.range('');
    const changes = Array.from({ length: 500 }, (_, n): Transaction => ({
      compares: [
        { key: `task/${String(n)}`, modRevision: n === 77 ? 5 : 0 },
        { key: 'fence', modRevision: revision },
      ],
      operations: [put(`task/${String(n)}`, 'x'.repeat(1_000)), remove(`status/${String(n)}`)],
    }));
    const results = await store.commit(changes);
    expect(results.filter(({ kind }) => kind === 'committed')).toHaveLength(499);
    expect(results[77]).toEqual({ kind: 'conflict', keys: ['task/77'] });
    const after = await store.range('');
    expect(after.entries).toHaveLength(500);
    expect(after.revision - revision).toBeLessThan(10);
    const steps = [only(put('s', '1')), only(put('s', '2')), only(put('s', '3'))];
    const [, , last] = await store.commit(steps);
    expect(last).toEqual({ kind: 'committed', revision: after.revision + 3 });
  });

  it('takes the largest transaction the port allows', async () => {
    const store = await open();
    const key = (n: number): string => `${String(n)}-`.padEnd(maxKeyBytes, 'k');
    const bytes = Math.floor(maxTransactionBytes / maxOperations) - maxKeyBytes;
    const operations = Array.from({ length: maxOperations }, (_, n) => put(key(n), 'v'.repeat(bytes)));
    const compares = Array.from({ length: maxOperations }, (_, n) => ({ key: key(n), modRevision: 0 }));
    const [committed] = await store.commit([{ compares, operations }]);
    expect(committed?.kind).toBe('committed');
    const [refused] = await store.commit([{ compares, operations }]);
    expect(refused).toEqual({ kind: 'conflict', keys: compares.map((compare) => compare.key) });
  });

  it('reads and catches up with more than fits one message', { timeout: timeoutMs }, async () => {
    const store = await open();
    const { revision } = await store.range('');
    const count = 1_200;
    const changes = Array.from({ length: count }, (_, n) => only(put(String(n).padStart(5, '0'), 'x'.repeat(8_000))));
    await store.commit(changes);
    const { entries } = await store.range('');
    expect(entries.map(({ key }) => key)).toEqual(Array.from({ length: count }, (_, n) => String(n).padStart(5, '0')));
    let seen = 0;
    await collect(store, '', revision, (batch) => (seen += batch.changes.length) >= count);
    expect(seen).toBe(count);
  });

  it('ends a watch whose reader was too slow for what is kept, when it reads on', { timeout: timeoutMs }, async () => {
    const store = await open();
    const { revision } = await store.range('');
    const watch = store.watch('', revision, new AbortController().signal)[Symbol.asyncIterator]();
    await store.commit([only(put('first', '1'))]);
    await watch.next();
    // First what fills the connection, then more messages than etcd keeps for one that takes none (1,024).
    for (let n = 0; n < 60; n += 1) await store.commit([only(put(`k${String(n)}`, 'x'.repeat(500_000)))]);
    const small = Array.from({ length: 100 }, (_, n) => only(put('small', String(n))));
    for (let n = 0; n < 15; n += 1) await store.commit(small);
    await store.compact((await store.range('first')).revision);
    const seen: number[] = [];
    const reading = (async () => {
      for (;;) {
        const step = await watch.next();
        if (step.done === true) return;
        seen.push(step.value.revision);
      }
    })();
    // Should nothing be forgotten, reading would wait for ever.
    const late = sleep(30_000).then(() => new FrotaError('deadline', `read ${String(seen.length)} batches to the end`));
    const error = await Promise.race([failure(reading), late]);
    expect(error.code, error.message).toBe('conflict');
    // What was shown before has no gap.
    expect(seen).toEqual(seen.map((_, index) => (seen[0] ?? 0) + index));
  });

  it('forgets old revisions by itself', async () => {
    const store = await open({ compactionIntervalMs: 100 });
    const { revision } = await store.range('');
    for (let n = 0; n < 3; n += 1) await store.commit([only(put('a', String(n)))]);
    const watchFromStart = (): Promise<FrotaError> => failure(collect(store, '', revision, () => true));
    for (let round = 0; round < 100 && (await watchFromStart()).code !== 'conflict'; round += 1) await sleep(50);
    expect((await watchFromStart()).code).toBe('conflict');
  });

  it('fences the controller that led before', async () => {
    const fresh = { id: 'c', containerPool: '10.64.0.0/12', vipPool: '10.80.0.0/16', caCertificate: 'ca' };
    const store = await open({ prefix: '/fenced/' });
    const second = await open({ prefix: '/fenced/' });
    const before = await takeLeadership(store, fresh);
    const gone = { kind: 'delete-service', id: 'a/b', modRevision: 0, pins: [] } as const;
    expect(await commitChanges(store, [gone], before.fence)).toMatchObject({ committed: 1, superseded: false });
    const after = await takeLeadership(second, fresh);
    expect(after.cluster.epoch).toBe(before.cluster.epoch + 1);
    expect(await commitChanges(store, [gone], before.fence)).toMatchObject({ conflicts: 1, superseded: true });
    expect(await commitChanges(second, [gone], after.fence)).toMatchObject({ committed: 1, superseded: false });
  });
});

describe('store on an etcd in trouble', () => {
  let own: readonly Etcd[] = [];
  const endpoints = (...etcds: readonly Etcd[]) => ({ secure: false, addresses: etcds.map(({ address }) => address) });
  afterEach(async () => {
    await closeAll();
    for (const each of own) await each.stop();
    own = [];
  });
  async function startOwn(count: number, args: readonly string[] = []): Promise<readonly Etcd[]> {
    own = await startEtcds(count, { args });
    return own;
  }

  it('resumes watches where they were when etcd is killed and comes back', { timeout: timeoutMs }, async () => {
    const [first] = await startOwn(1);
    if (first === undefined) throw new Error('unreachable');
    const store = await open({ endpoints: endpoints(first) });
    const { revision } = await store.range('');
    const seen: WatchBatch[] = [];
    const abort = new AbortController();
    const watching = (async () => {
      for await (const batch of store.watch('', revision, abort.signal)) seen.push(batch);
    })();
    let n = 0;
    for (let round = 0; round < 4; round += 1) {
      for (let i = 0; i < 20; i += 1, n += 1) await store.commit([only(put(`k${String(n)}`, 'v'))]);
      const killed = first.kill();
      // Whatever the connection still does: this one is lost or not, and says so.
      const outcome = await failure(store.commit([only(put('unsure', String(round)))]));
      expect(['unavailable', 'internal']).toContain(outcome.code);
      await killed;
      await first.start();
    }
    await store.commit([only(put('last', 'v'))]);
    const keys = (): string[] =>
      seen.flatMap(({ changes }) => changes.flatMap((change) => (change.kind === 'put' ? [change.entry.key] : [])));
    for (let i = 0; i < 200 && !keys().includes('last'); i += 1) await sleep(50);
    abort.abort();
    await watching;
    const expected = Array.from({ length: n }, (_, k) => `k${String(k)}`);
    expect(keys().filter((key) => key !== 'unsure')).toEqual([...expected, 'last']);
    const revisions = seen.map((batch) => batch.revision);
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b));
  });

  it('goes on when any member of three is lost', { timeout: timeoutMs }, async () => {
    const members = await startOwn(3);
    const store = await open({ endpoints: endpoints(...members) });
    const { revision } = await store.range('');
    const seen: string[] = [];
    const abort = new AbortController();
    const watching = (async () => {
      for await (const { changes } of store.watch('', revision, abort.signal))
        for (const change of changes) if (change.kind === 'put') seen.push(change.entry.key);
    })();
    const acknowledged: string[] = [];
    for (const [index, member] of members.entries()) {
      await member.kill();
      for (let n = 0; n < 10; n += 1) {
        const key = `${String(index)}-${String(n)}`;
        // A write under way when its member dies is told as such, and written again by who wants it.
        for (let attempt = 0; attempt < 5; attempt += 1) {
          const [result] = await store.commit([only(put(key, 'v'))]).catch(() => []);
          if (result === undefined) continue;
          acknowledged.push(key);
          break;
        }
      }
      await member.start();
    }
    expect(acknowledged).toHaveLength(30);
    for (let i = 0; i < 200 && !seen.includes('2-9'); i += 1) await sleep(50);
    abort.abort();
    await watching;
    expect([...new Set(seen)]).toEqual(acknowledged);
    expect((await store.range('')).entries).toHaveLength(30);
  });

  it(
    'does not wait for ever for an etcd that hangs, nor for one without a quorum',
    { timeout: timeoutMs },
    async () => {
      const [first, second, third] = await startOwn(3);
      if (first === undefined || second === undefined || third === undefined) throw new Error('unreachable');
      const alone = await open({ endpoints: endpoints(first) });
      process.kill(first.pid(), 'SIGSTOP');
      const startedMs = performance.now();
      const hung = await failure(alone.commit([only(put('a', '1'))]));
      expect(hung.code).toBe('unavailable');
      expect(performance.now() - startedMs).toBeLessThan(8_000);
      process.kill(first.pid(), 'SIGCONT');
      expect((await alone.range('')).entries.length).toBeLessThanOrEqual(1);
      await second.kill();
      await third.kill();
      const minority = await failure(alone.range(''));
      expect(minority.code).toBe('unavailable');
      expect(minority.message).toContain(first.address);
    },
  );

  it('says that etcd is full, and goes on when there is room', { timeout: timeoutMs }, async () => {
    const [first] = await startOwn(1, ['--quota-backend-bytes', String(8 * 1024 * 1024)]);
    if (first === undefined) throw new Error('unreachable');
    const store = await open({ endpoints: endpoints(first) });
    let error: FrotaError | undefined;
    let written = 0;
    for (; written < 30 && error === undefined; written += 1) {
      const outcome = await failure(store.commit([only(put(`k${String(written)}`, 'x'.repeat(1_000_000)))]));
      if (outcome.code !== 'internal') error = outcome;
    }
    expect(error).toMatchObject({ code: 'exhausted' });
    expect(error?.message).toMatch(/quota.*etcdctl alarm disarm/);
    expect((await store.range('')).entries).toHaveLength(written - 1);
    // What a person does: remove something, compact, defragment, disarm.
    await store.commit([only(remove('k0')), only(remove('k1'))]);
    const tool = new Etcd3({ hosts: first.address });
    await tool.kv.compact({ revision: (await store.range('')).revision, physical: true });
    await tool.maintenance.defragment();
    const { alarms } = await tool.maintenance.alarm({ action: 'Get' });
    for (const { memberID } of alarms)
      await tool.maintenance.alarm({ action: 'Deactivate', alarm: 'Nospace', memberID });
    tool.close();
    await store.commit([only(put('again', '1'))]);
  });

  it('tells a reader to read again when etcd has gone back to an older state', { timeout: timeoutMs }, async () => {
    const [first] = await startOwn(1);
    if (first === undefined) throw new Error('unreachable');
    const store = await open({ endpoints: endpoints(first), prefix: '/back/' });
    for (let n = 0; n < 5; n += 1) await store.commit([only(put('a', String(n)))]);
    const watching = failure(collect(store, '', (await store.range('')).revision, () => true));
    await sleep(100);
    await first.kill();
    await rm(`${first.folder}/data`, { recursive: true });
    await first.start();
    expect((await watching).code).toBe('conflict');
    expect((await store.range('')).entries).toEqual([]);
  });

  it(
    'says what is wrong with an address, and what to do; one member that answers is enough',
    { timeout: timeoutMs },
    async () => {
      const server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const foreign = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
      const openAt = (...addresses: string[]): Promise<Store> => open({ endpoints: { secure: false, addresses } });
      const errors = await Promise.all(
        [['127.0.0.1:1', '127.0.0.1:2'], [foreign]].map((addresses) => failure(openAt(...addresses))),
      );
      for (const error of errors) expect(error.code).toBe('unavailable');
      for (const part of ['127.0.0.1:1', '127.0.0.1:2', 'ECONNREFUSED', '--listen-client-urls'])
        expect(errors[0]?.message).toContain(part);
      expect(errors[1]?.message).toContain(foreign);
      const oneWorks = await openAt(foreign, '127.0.0.1:1', etcd.address);
      await oneWorks.commit([only(put('a', 'fine'))]);
      expect(valueText((await oneWorks.range('')).entries[0]?.value ?? new Uint8Array())).toBe('fine');
      server.close();
    },
  );
});

describe('store on an etcd with TLS', () => {
  let folder = '';
  let secured: Etcd | undefined;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ft-etcd-tls-'));
  });
  afterAll(async () => {
    await closeAll();
    await secured?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('shows its certificate and checks the other; says so when they do not fit', { timeout: timeoutMs }, async () => {
    const authority = await loadOrCreateAuthority(folder, Date.now());
    const stranger = await loadOrCreateAuthority(join(folder, 'other'), Date.now());
    const server = await authority.issueServer([], Date.now());
    const person = await authority.issuePerson('frota', 'admin', Date.now());
    const tls = { ca: join(folder, 'ca'), certificate: join(folder, 'certificate'), key: join(folder, 'key') };
    await writeFile(tls.ca, authority.certificate);
    await writeFile(tls.certificate, server.certificate);
    await writeFile(tls.key, server.key);
    secured = await startEtcd({ tls });
    const endpoints = { secure: true, addresses: [secured.address] };
    const ca = Buffer.from(authority.certificate);
    const own = { certificate: Buffer.from(person.certificate), key: Buffer.from(person.key) };
    const store = await open({ endpoints, tls: { ca, ...own } });
    const { revision } = await store.range('');
    const watching = collect(store, '', revision, () => true);
    await store.commit([only(put('a', '1'))]);
    expect(await watching).toHaveLength(1);
    const errors = await Promise.all(
      [
        { endpoints, tls: { ca } },
        { endpoints, tls: { ca: Buffer.from(stranger.certificate), ...own } },
        { endpoints: { ...endpoints, secure: false } },
      ].map((options) => failure(open(options))),
    );
    for (const { code, message } of errors) {
      expect(code).toBe('unavailable');
      expect(message).toContain('etcds://');
    }
    expect(errors[1]?.message).toContain('certificate');
  });
});
