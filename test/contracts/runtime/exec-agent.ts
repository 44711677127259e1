/** An agent's stand-in that a test can kill: runs one command in a container that is there, and goes on living. */
import { silentLogger } from '../../../proto/base/log.ts';
import { createOciRuntime, type OciRuntimeOptions } from '../../../agent/runtime/oci/oci-runtime.ts';

const [, , optionsText = '', id = '', ...args] = process.argv;
const options = JSON.parse(optionsText) as Omit<OciRuntimeOptions, 'logger'>;
const runtime = await createOciRuntime({ ...options, logger: silentLogger });
await runtime.list();
process.stdout.write('ready\n');
const exec = await runtime.exec(id, { args }, new AbortController().signal);
exec.stdout.resume();
exec.stderr.resume();
process.stdout.write('started\n');
await exec.done;
