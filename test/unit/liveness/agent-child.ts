/** Child process of the worker tests: an agent as far as liveness goes. Commands come as lines on standard input. */
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { createHeartbeats } from '../../../agent/liveness/heartbeats.ts';
import { createWatchdog } from '../../../agent/liveness/watchdog.ts';
import { silentLogger } from '../../../proto/base/log.ts';

const [
  workerFile = '',
  nodeId = '',
  key = '',
  controllerPort = '',
  ownPort = '0',
  ownAddress = '127.0.0.1',
  controllerAddress = '127.0.0.1',
] = process.argv.slice(2);
const disk = createWatchdog(() => performance.now());
const heartbeats = await createHeartbeats({
  workerUrl: new URL(`file://${workerFile}`),
  address: ownAddress,
  port: Number(ownPort),
  disk,
  runtime: createWatchdog(() => performance.now()),
  logger: silentLogger,
});
heartbeats.onSilent((nodeIds) => process.stdout.write(`silent ${[...nodeIds].join()}\n`));
heartbeats.setController({
  address: controllerAddress,
  port: Number(controllerPort),
  key: Buffer.from(key, 'hex'),
  intervalMs: 200,
  nodeId,
  bootId: randomBytes(16),
});
process.stdout.write(`${String(heartbeats.port)}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument] = line.split(' ');
  // The main thread does nothing else meanwhile, as under a long synchronous call.
  if (command === 'block') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(argument));
  // A write that does not return for a while.
  if (command === 'hang') void disk.watch(() => new Promise((resolve) => setTimeout(resolve, Number(argument))));
  if (command === 'peers') {
    const peers = (JSON.parse(argument ?? '[]') as { nodeId: string; port: number; key: string }[]).map((peer) => ({
      nodeId: peer.nodeId,
      address: '127.0.0.1',
      livenessPort: peer.port,
      key: Buffer.from(peer.key, 'hex'),
    }));
    heartbeats.setPlan({ heartbeatIntervalMs: 200, peers });
    heartbeats.setUsed(peers.map(({ nodeId: id }) => id));
  }
  if (command === 'restart') {
    heartbeats.announceRestart();
    break;
  }
}
await heartbeats.close();
process.stdin.destroy();
