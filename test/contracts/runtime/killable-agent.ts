/**
 * An agent's stand-in that a test can kill: opens a runtime with the options in its first argument, creates and starts
 * the containers whose specs are in its second, prints one line of JSON for each, and goes on living.
 */
import { silentLogger } from '../../../proto/base/log.ts';
import { createOciRuntime, type OciRuntimeOptions } from '../../../agent/runtime/oci/oci-runtime.ts';
import type { ContainerSpec } from '../../../agent/runtime/runtime.ts';

const [, , optionsText = '', specsText = ''] = process.argv;
const options = JSON.parse(optionsText) as Omit<OciRuntimeOptions, 'logger'>;
const runtime = await createOciRuntime({ ...options, logger: silentLogger });
await runtime.list();
process.stdout.write('{"kind":"ready"}\n');
for (const spec of JSON.parse(specsText) as readonly ContainerSpec[]) {
  await runtime.create(spec, new AbortController().signal);
  const started = await runtime.start(spec.id);
  process.stdout.write(`${JSON.stringify({ kind: 'started', id: spec.id, ...started })}\n`);
}
