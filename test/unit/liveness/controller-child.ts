/** Child process of the worker tests: a controller as far as liveness goes. It prints its port, then every state as JSON. */
import { createLivenessJudge } from '../../../controller/liveness/liveness-judge.ts';
import { silentLogger } from '../../../proto/base/log.ts';

const [workerFile = '', nodeId = '', key = ''] = process.argv.slice(2);
const judge = await createLivenessJudge({
  workerUrl: new URL(`file://${workerFile}`),
  address: '127.0.0.1',
  port: 0,
  logger: silentLogger,
});
judge.onChange(() => process.stdout.write(`${JSON.stringify(judge.states().get(nodeId))}\n`));
process.stdout.write(`${String(judge.port)}\n`);
process.stdin.on('data', (chunk: Buffer) => {
  judge.setNodes([
    { nodeId, address: '127.0.0.1', livenessPort: Number(chunk.toString()), key: Buffer.from(key, 'hex') },
  ]);
});
process.stdin.on('end', () => {
  void judge.close();
});
