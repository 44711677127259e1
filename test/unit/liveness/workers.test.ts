/** The real workers over loopback, each side in a process of its own: how long silence takes to be judged, and how. */
import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLivenessJudge } from '../../../controller/liveness/liveness-judge.ts';
import type { LivenessJudge } from '../../../controller/liveness/liveness-judge.ts';
import { pairKey } from '../../../controller/security/liveness-keys.ts';
import { defaultLivenessSettings } from '../../../controller/liveness/settings.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import type { NodeState } from '../../../proto/domain/node.ts';

const root = join(import.meta.dirname, '../../..');
let folder = '';
const built = (path: string): string => join(folder, path.replace(/\.ts$/, '.js'));
const controllerWorker = 'controller/liveness/worker.ts';
const agentWorker = 'agent/liveness/worker.ts';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ft-liveness-'));
  await build({
    absWorkingDir: root,
    entryPoints: [
      controllerWorker,
      agentWorker,
      'test/unit/liveness/agent-child.ts',
      'test/unit/liveness/controller-child.ts',
    ],
    outdir: folder,
    outbase: '.',
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    logLevel: 'error',
  });
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const children: ChildProcessWithoutNullStreams[] = [];
function start(
  script: string,
  ...args: string[]
): { child: ChildProcessWithoutNullStreams; firstLine: Promise<string>; lines: string[] } {
  const child = spawn(process.execPath, [built(script), ...args]);
  children.push(child);
  const lines: string[] = [];
  let rest = '';
  const firstLine = new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      const parts = (rest + chunk.toString()).split('\n');
      rest = parts.pop() ?? '';
      lines.push(...parts);
      if (lines[0] !== undefined) resolve(lines[0]);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      reject(new Error(chunk.toString()));
    });
  });
  return { child, firstLine, lines };
}
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('liveness workers', () => {
  const key = randomBytes(32).toString('hex');
  let judge: LivenessJudge;
  let seen: NodeState[] = [];
  beforeEach(async () => {
    seen = [];
    judge = await createLivenessJudge({
      workerUrl: new URL(`file://${built(controllerWorker)}`),
      address: '127.0.0.1',
      port: 0,
      settings: { ...defaultLivenessSettings, agentGraceMs: 2_000, hangAfterMs: 1_500 },
      logger: silentLogger,
    });
    judge.onChange(() => {
      const state = judge.states().get('n1')?.state;
      if (state !== undefined) seen.push(state);
    });
  });
  afterEach(() => judge.close());

  const reason = (): string => judge.states().get('n1')?.reason ?? '';
  /** @returns milliseconds until the node was in the state. */
  async function until(state: NodeState, withinMs = 5_000): Promise<number> {
    const from = performance.now();
    while (judge.states().get('n1')?.state !== state) {
      if (performance.now() - from > withinMs) throw new Error(`still ${seen.join(' → ')} (${reason()}), not ${state}`);
      await wait(5);
    }
    return performance.now() - from;
  }
  async function startAgent(
    port = '0',
    withKey = key,
  ): Promise<{ child: ChildProcessWithoutNullStreams; port: string }> {
    const { child, firstLine } = start(
      'test/unit/liveness/agent-child.ts',
      built(agentWorker),
      'n1',
      withKey,
      String(judge.port),
      port,
    );
    return { child, port: await firstLine };
  }
  const watch = (livenessPort: string): void => {
    judge.setNodes([
      { nodeId: 'n1', address: '127.0.0.1', livenessPort: Number(livenessPort), key: Buffer.from(key, 'hex') },
    ]);
  };

  it('hears an agent at once, loses it about half a second after it falls silent, and takes it back', async () => {
    const { child, port } = await startAgent();
    watch(port);
    expect(await until('ready')).toBeLessThan(1_000);
    const detectionsMs: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      await wait(300 + round * 70);
      child.kill('SIGSTOP');
      detectionsMs.push(Math.round(await until('down')));
      expect(reason()).toMatch(/probes unanswered/);
      child.kill('SIGCONT');
      expect(await until('ready')).toBeLessThan(1_000);
    }
    process.stdout.write(`silence → down: ${detectionsMs.join(', ')} ms\n`);
    for (const ms of detectionsMs) {
      // Less the heartbeat interval, as the last one may have come just before the silence.
      expect(ms).toBeGreaterThan(defaultLivenessSettings.suspectAfterMs - defaultLivenessSettings.heartbeatIntervalMs);
      expect(ms).toBeLessThan(1_500);
    }
    expect(seen.filter((state) => state === 'unreachable')).toEqual([]);
  });

  it('tells a killed agent from a dead host, and takes its successor with a new boot id', async () => {
    const { child, port } = await startAgent();
    watch(port);
    await until('ready');
    child.kill('SIGKILL');
    const unreachableMs = await until('unreachable');
    expect(unreachableMs).toBeLessThan(1_300);
    expect(reason()).toBe('its host answers, its agent does not');
    process.stdout.write(`agent killed → unreachable: ${String(Math.round(unreachableMs))} ms\n`);
    const next = await startAgent(port);
    await until('ready');
    expect(seen).not.toContain('down');
    next.child.kill('SIGKILL');
    await until('unreachable');
    expect(await until('down')).toBeGreaterThan(1_500);
    expect(reason()).toMatch(/has not come back/);
  });

  it('says that an agent restarts when it was told so', async () => {
    const { child, port } = await startAgent();
    watch(port);
    await until('ready');
    child.stdin.write('restart\n');
    await until('unreachable');
    expect(reason()).toBe('its agent restarts');
    if (child.exitCode === null) await new Promise((resolve) => child.once('exit', resolve));
    expect(child.exitCode).toBe(0);
  });

  it('keeps an agent of which something hangs, and says what, until it moves again', async () => {
    const { child, port } = await startAgent();
    watch(port);
    await until('ready');
    const hangs = (): string | undefined => judge.states().get('n1')?.notAccepting;
    for (const [command, said] of [
      ['block', "its agent's main thread has not moved for more than 1.5 s"],
      ['hang', 'its disk has not answered for more than 1.5 s'],
    ] as const) {
      child.stdin.write(`${command} 3000\n`);
      await vi.waitFor(() => expect(hangs()).toBe(said), { timeout: 3_000, interval: 20 });
      await vi.waitFor(() => expect(hangs()).toBeUndefined(), { timeout: 3_000, interval: 20 });
    }
    expect(seen).not.toContain('unreachable');
    expect(seen).not.toContain('down');
  });

  it('says that a node is heard by its peers only, when they are asked and hear it', async () => {
    // n1 speaks to a controller that does not know it, and answers its peers all the same.
    const other = start('test/unit/liveness/controller-child.ts', built(controllerWorker), 'n1', key);
    const cutOff = start(
      'test/unit/liveness/agent-child.ts',
      built(agentWorker),
      'n1',
      key,
      await other.firstLine,
      '0',
    );
    const peerKey = randomBytes(32);
    const peer = start(
      'test/unit/liveness/agent-child.ts',
      built(agentWorker),
      'n2',
      peerKey.toString('hex'),
      String(judge.port),
      '0',
    );
    const peerPort = Number(await peer.firstLine);
    const pair = Buffer.from(pairKey(Buffer.from(key, 'hex'), 'n2')).toString('hex');
    const peers = [{ nodeId: 'n1', port: Number(await cutOff.firstLine), key: pair }];
    peer.child.stdin.write(`peers ${JSON.stringify(peers)}\n`);
    // The controller's own probes reach a socket that is bound and deaf.
    const deaf = createSocket('udp4');
    await new Promise<void>((resolve) => deaf.bind(0, '127.0.0.1', resolve));
    judge.setNodes([
      { nodeId: 'n1', address: '127.0.0.1', livenessPort: deaf.address().port, key: Buffer.from(key, 'hex') },
      { nodeId: 'n2', address: '127.0.0.1', livenessPort: peerPort, key: peerKey },
    ]);
    await until('unreachable');
    expect(reason()).toBe('its peers hear it, this controller does not');
    cutOff.child.kill('SIGSTOP');
    expect(await until('down')).toBeLessThan(2_500);
    expect(reason()).toMatch(/its peers heard it, then it fell silent/);
    expect(judge.states().get('n2')?.state).toBe('ready');
    deaf.close();
  });

  it('an agent says which peer does not answer it, and when it does again; a refusal is an answer', async () => {
    const keys = new Map(['n1', 'n2', 'n3'].map((id) => [id, randomBytes(32)]));
    const agentOf = (id: string) => {
      const own = keys.get(id)?.toString('hex') ?? '';
      return start('test/unit/liveness/agent-child.ts', built(agentWorker), id, own, String(judge.port), '0');
    };
    const [asker, silent, killed] = [agentOf('n1'), agentOf('n2'), agentOf('n3')];
    const pair = (id: string): string => Buffer.from(pairKey(keys.get(id) ?? new Uint8Array(), 'n1')).toString('hex');
    const peers = [
      { nodeId: 'n2', port: Number(await silent.firstLine), key: pair('n2') },
      { nodeId: 'n3', port: Number(await killed.firstLine), key: pair('n3') },
    ];
    await asker.firstLine;
    asker.child.stdin.write(`peers ${JSON.stringify(peers)}\n`);
    await wait(1_000);
    const told = (): string[] => asker.lines.slice(1);
    expect(told()).toEqual([]);
    const stoppedAt = performance.now();
    silent.child.kill('SIGSTOP');
    await vi.waitFor(() => expect(told()).toEqual(['silent n2']), { timeout: 2_000, interval: 5 });
    const outMs = performance.now() - stoppedAt;
    process.stdout.write(`peer frozen → its endpoints out: ${String(Math.round(outMs))} ms\n`);
    expect(outMs).toBeLessThan(1_000);
    silent.child.kill('SIGCONT');
    await vi.waitFor(() => expect(told()).toEqual(['silent n2', 'silent ']), { timeout: 2_000, interval: 5 });
    killed.child.kill('SIGKILL');
    await wait(1_000);
    expect(told()).toHaveLength(2);
  });

  it('does not hear an agent with another key', async () => {
    const { port } = await startAgent('0', randomBytes(32).toString('hex'));
    watch(port);
    await wait(700);
    expect(judge.states().size).toBe(0);
    await until('down');
    expect(reason()).toMatch(/never heard/);
  });

  it('forgets a node that is no longer watched', async () => {
    const { port } = await startAgent();
    watch(port);
    await until('ready');
    judge.setNodes([]);
    await wait(500);
    expect(judge.states().size).toBe(0);
  });

  it.skipIf(process.getuid?.() !== 0)(
    'loses a node whose link goes down, and hears the same agent when it is up again',
    async () => {
      const ip = (...args: string[]): number | null => spawnSync('ip', args).status;
      const [hostAddress, nodeAddress] = ['198.51.100.1', '198.51.100.2'];
      const namespace = 'ft-liveness';
      ip('netns', 'del', namespace);
      try {
        expect(ip('netns', 'add', namespace)).toBe(0);
        expect(ip('link', 'add', 'ft-live0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace)).toBe(0);
        ip('addr', 'add', `${hostAddress}/24`, 'dev', 'ft-live0');
        ip('link', 'set', 'ft-live0', 'up');
        ip('-n', namespace, 'addr', 'add', `${nodeAddress}/24`, 'dev', 'eth0');
        ip('-n', namespace, 'link', 'set', 'eth0', 'up');
        await judge.close();
        judge = await createLivenessJudge({
          workerUrl: new URL(`file://${built(controllerWorker)}`),
          address: hostAddress,
          port: 0,
          logger: silentLogger,
        });
        const args = [built(agentWorker), 'n1', key, String(judge.port), '0', nodeAddress, hostAddress];
        const child = spawn('ip', [
          'netns',
          'exec',
          namespace,
          process.execPath,
          built('test/unit/liveness/agent-child.ts'),
          ...args,
        ]);
        children.push(child);
        const port = await new Promise<string>((resolve) =>
          child.stdout.once('data', (chunk: Buffer) => {
            resolve(chunk.toString());
          }),
        );
        judge.setNodes([
          { nodeId: 'n1', address: nodeAddress, livenessPort: Number(port), key: Buffer.from(key, 'hex') },
        ]);
        await until('ready');
        ip('-n', namespace, 'link', 'set', 'eth0', 'down');
        const downMs = await until('down');
        process.stdout.write(`link down → down: ${String(Math.round(downMs))} ms\n`);
        expect(downMs).toBeLessThan(1_500);
        await wait(1_000);
        ip('-n', namespace, 'link', 'set', 'eth0', 'up');
        await until('ready');
      } finally {
        ip('netns', 'del', namespace);
        ip('link', 'del', 'ft-live0');
      }
    },
  );

  it('says when its port is taken', async () => {
    const second = createLivenessJudge({
      workerUrl: new URL(`file://${built(controllerWorker)}`),
      address: '127.0.0.1',
      port: judge.port,
      logger: silentLogger,
    });
    await expect(second).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('loses nobody after it was itself frozen for longer than any silence allowed', async () => {
    const controller = start('test/unit/liveness/controller-child.ts', built(controllerWorker), 'n1', key);
    const controllerPort = await controller.firstLine;
    const agent = start('test/unit/liveness/agent-child.ts', built(agentWorker), 'n1', key, controllerPort, '0');
    controller.child.stdin.write(await agent.firstLine);
    await wait(800);
    for (let round = 0; round < 3; round += 1) {
      controller.child.kill('SIGSTOP');
      await wait(1_500);
      controller.child.kill('SIGCONT');
      await wait(500);
    }
    const states = controller.lines.slice(1).map((line) => (JSON.parse(line) as { state: NodeState }).state);
    expect(states).toEqual(['ready']);
  });
});
