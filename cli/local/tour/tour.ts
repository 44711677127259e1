/** What `npm start` does once the machine is set up: cluster `local`, the example's images, the example, a summary. */
import { spawn } from 'node:child_process';
import { dirname, join, relative } from 'node:path';
import type { NodeView, ServiceView } from '../../../proto/domain/views.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { findInstallation, type Installation } from '../installation.ts';
import { addressesIn, controlPort, placeOf } from '../place.ts';
import { readRecord } from '../record.ts';
import { ensureImages } from './images.ts';
import { summaryText } from './summary.ts';
import type { UpResult } from '../ports.ts';

const clusterName = 'local';
const stackName = 'hello';
const pageTimeoutMs = 2_000;

interface ContextRow {
  readonly name: string;
  readonly current: boolean;
}

/** @throws FrotaError of whichever step fails */
export async function runTour(): Promise<void> {
  const installation = findInstallation();
  const say = (line: string): void => {
    process.stderr.write(`${line}\n`);
  };
  const frota = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> =>
    runFrota(installation, args, { ...process.env, FROTA_CONTEXT: clusterName, ...env });

  // What waits tells people of it: where everything is stands in the cluster's record.
  await frota(['cluster', 'up', clusterName, '--wait']);
  const up = await standing();
  const example = join(installation.root, 'examples/hello');
  const stampFile = join(up.stateFolder, 'tour-images.json');
  const madeAnew = await ensureImages({ registry: up.registry, example, stampFile, say });
  const declared = (JSON.parse(await frota(['ls', '-o', 'json'])) as readonly ServiceView[])
    .filter(({ stack }) => stack === stackName)
    .map(({ name, replicas }) => `${stackName}/${name}=${String(replicas.desired)}`);
  // What is declared stays as it is, scaled by hand or not; it is only waited for.
  if (declared.length > 0 && !madeAnew) await frota(['scale', ...declared, '--wait']);
  else {
    const compose = join(example, 'compose.yaml');
    await frota(['apply', '-f', compose, '--wait'], { FROTA_REGISTRY: up.registry });
  }

  const nodes = JSON.parse(await frota(['node', 'ls', '-o', 'json'])) as readonly NodeView[];
  const services = JSON.parse(await frota(['ls', '-o', 'json'])) as readonly ServiceView[];
  const contexts = JSON.parse(
    await frota(['context', 'ls', '-o', 'json'], { FROTA_CONTEXT: '' }),
  ) as readonly ContextRow[];
  const isCurrent = contexts.some((context) => context.current && context.name === clusterName);
  const program = relative(process.cwd(), installation.program) + (isCurrent ? '' : ` --context ${clusterName}`);
  const page = await readPage(`http://${nodes[0]?.address ?? ''}:8080/`);
  process.stdout.write(summaryText({ up, nodes, services, program, page }));
}

/** Of the cluster that is up. */
async function standing(): Promise<Pick<UpResult, 'name' | 'controller' | 'registry' | 'stateFolder'>> {
  const place = placeOf(clusterName, process.env);
  const record = await readRecord(place);
  if (record === undefined) throw new FrotaError('unavailable', `cluster ${clusterName} was removed meanwhile`);
  const { controller, registry } = addressesIn(record.subnet);
  return { name: clusterName, controller: `${controller}:${controlPort}`, registry, stateFolder: place.stateFolder };
}

/** Empty when nothing answers: the summary then leaves it out. */
async function readPage(url: string): Promise<string> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(pageTimeoutMs) });
    return (await answer.text()).trim();
  } catch {
    return '';
  }
}

/** A verb as a person would call it; progress goes straight to the terminal. Returns standard output. */
function runFrota(installation: Installation, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [installation.program, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: dirname(installation.program),
      env,
    });
    let output = '';
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (text: string) => {
      output += text;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new FrotaError('unavailable', `frota ${args.join(' ')} failed, see above`));
    });
  });
}
