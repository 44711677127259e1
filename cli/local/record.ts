/** `cluster.json` in the state folder: what a local cluster is made of. Writer: `up`, under the cluster's lock. Reader: everyone. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Place } from './place.ts';

export interface ClusterRecord {
  readonly name: string;
  /** CIDR, always a /24. */
  readonly subnet: string;
  readonly nodes: readonly string[];
  /** Path of `bin/frota`, which starts controller and agents. */
  readonly program: string;
}

export const recordFile = (place: Place): string => join(place.stateFolder, 'cluster.json');

/** Undefined when there is none. @throws FrotaError `corrupt` */
export async function readRecord(place: Place): Promise<ClusterRecord | undefined> {
  const file = recordFile(place);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw FrotaError.from(error, 'unavailable');
  }
  const record = parse(text);
  if (record !== undefined) return record;
  const remedy = `run "frota cluster down ${place.name} --volumes" and start anew`;
  throw new FrotaError('corrupt', `${file} is damaged; ${remedy}`);
}

export async function writeRecord(place: Place, record: ClusterRecord): Promise<void> {
  await writeWhole(recordFile(place), `${JSON.stringify(record, undefined, 2)}\n`);
}

/** By a rename, so that a reader or a crash never sees half of it. */
export async function writeWhole(file: string, text: string, mode = 0o644): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.new`, text, { mode });
  await rename(`${file}.new`, file);
}

function parse(text: string): ClusterRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { name, subnet, nodes, program } = value as Record<string, unknown>;
  const subnetFits = typeof subnet === 'string' && /^[0-9]+([.][0-9]+){3}[/]24$/.test(subnet);
  const nodesFit = Array.isArray(nodes) && nodes.every((id) => typeof id === 'string' && /^n[0-9]+$/.test(id));
  if (typeof name !== 'string' || !subnetFits || !nodesFit || typeof program !== 'string') return undefined;
  return { name, subnet, nodes: nodes as string[], program };
}
