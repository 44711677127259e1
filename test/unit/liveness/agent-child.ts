/** Child process of the worker tests: an agent as far as liveness goes. Commands come as lines on standard input. */
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { createHeartbeats } from '../../../agent/liveness/heartbeats.ts';
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
const heartbeats = await createHeartbeats({
  workerUrl: new URL(`file://${workerFile}`),
  address: ownAddress,
  port: Number(ownPort),
  logger: silentLogger,
});
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
  if (command === 'restart') {
    heartbeats.announceRestart();
    break;
  }
}
await heartbeats.close();
process.stdin.destroy();
