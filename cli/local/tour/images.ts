/** The example's images, made of this machine's Node.js and pushed to the cluster's registry only when they are not there. */
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { FrotaError } from '../../../proto/base/errors.ts';
import { call } from '../programs.ts';
import { writeWhole } from '../record.ts';
import { writeImage, writeLayer, type LayerEntry } from './image-layout.ts';

export interface TourImages {
  /** `host:port`. */
  readonly registry: string;
  /** `examples/hello`. */
  readonly example: string;
  /** Remembers between runs what the images were made of. */
  readonly stampFile: string;
  readonly say: (line: string) => void;
}

/** What the images were made of, and the digests that came out. */
interface Stamp {
  readonly inputs: string;
  readonly digests: Readonly<Record<string, string>>;
}

const services = ['web', 'counter'] as const;
/** Of the example's folder, in the image of every service. */
const sharedFiles = ['serve.mjs', 'check.mjs'];
const tag = '1';
const nodePath = '/usr/local/bin/node';
const userId = 1000;
/** Bumped when this file makes other images of the same input. */
const recipe = 2;
const registryTimeoutMs = 5_000;
const pushTimeoutMs = 120_000;
const manifestTypes = 'application/vnd.oci.image.manifest.v1+json';

/** @returns whether they were made anew. @throws FrotaError `unavailable` (registry, skopeo), `unsupported` (no skopeo, no ldd) */
export async function ensureImages(options: TourImages): Promise<boolean> {
  const { registry, example, stampFile, say } = options;
  const libraries = await sharedLibraries(process.execPath);
  const inputs = await describeInputs(example, libraries);
  const stamp = await readStamp(stampFile);
  if (stamp?.inputs === inputs && (await allThere(registry, stamp))) return false;
  say("making the example's images from this machine's Node.js");
  const layout = await mkdtemp(join(tmpdir(), 'frota-images-'));
  try {
    const base = await writeLayer(layout, await baseEntries(libraries));
    const digests: Record<string, string> = {};
    for (const service of services) {
      const own = await writeLayer(layout, await serviceEntries(example, service));
      const config = {
        entrypoint: [nodePath, `/app/${service}/server.mjs`],
        environment: ['PATH=/usr/local/bin:/usr/bin:/bin', 'NODE_ENV=production'],
        workingDir: '/app',
        user: String(userId),
      };
      const manifest = await writeImage(layout, [base, own], config, architecture());
      digests[service] = manifest.digest;
      say(`pushing ${registry}/hello/${service}:${tag}`);
      // The second push finds the base layer in the registry and sends the small one alone.
      const destination = `docker://${registry}/hello/${service}:${tag}`;
      const args = ['copy', '--quiet', '--insecure-policy', '--dest-tls-verify=false', `oci:${layout}`, destination];
      await call('skopeo', args, { timeoutMs: pushTimeoutMs });
    }
    await writeWhole(stampFile, JSON.stringify({ inputs, digests }));
  } finally {
    await rm(layout, { recursive: true, force: true });
  }
  return true;
}

async function allThere(registry: string, stamp: Stamp): Promise<boolean> {
  for (const service of services) {
    const url = `http://${registry}/v2/hello/${service}/manifests/${tag}`;
    const answer = await fetch(url, {
      method: 'HEAD',
      headers: { accept: manifestTypes },
      signal: AbortSignal.timeout(registryTimeoutMs),
    }).catch((error: unknown) => {
      throw new FrotaError('unavailable', `the registry at ${registry} does not answer`, { cause: error });
    });
    if (answer.headers.get('docker-content-digest') !== stamp.digests[service]) return false;
  }
  return true;
}

async function readStamp(file: string): Promise<Stamp | undefined> {
  try {
    const { inputs, digests } = JSON.parse(await readFile(file, 'utf8')) as Partial<Stamp>;
    return inputs === undefined || digests === undefined ? undefined : { inputs, digests };
  } catch {
    // Missing or half written: making the images again is always right.
    return undefined;
  }
}

/** Programs by size and time, the example's own files by content. */
async function describeInputs(example: string, libraries: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(`${recipe} ${process.version} ${architecture()}\n`);
  for (const file of [process.execPath, ...libraries]) {
    const { size, mtimeMs } = await stat(file);
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  }
  for (const file of [...sharedFiles, ...services.map((service) => `${service}/server.mjs`)]) {
    hash.update(await readFile(join(example, file)));
  }
  return hash.digest('hex');
}

/** Every library the program loads, and the loader itself, as `ldd` names them. */
async function sharedLibraries(program: string): Promise<readonly string[]> {
  const { stdout } = await call('ldd', [program]);
  const paths = stdout.split('\n').map((line) => /(?:=> )?(\/[^ ]+) \(0x/.exec(line)?.[1]);
  return [...new Set(paths.filter((path) => path !== undefined))].sort();
}

async function baseEntries(libraries: readonly string[]): Promise<readonly LayerEntry[]> {
  const files: LayerEntry[] = [{ kind: 'copy', path: nodePath.slice(1), source: process.execPath, mode: 0o755 }];
  for (const library of libraries) {
    files.push({ kind: 'copy', path: library.slice(1), source: await realpath(library), mode: 0o755 });
  }
  const texts: LayerEntry[] = [
    { kind: 'text', path: 'etc/passwd', content: `root:x:0:0:root:/root:/\nnode:x:${userId}:${userId}::/app:/\n` },
    { kind: 'text', path: 'etc/group', content: `root:x:0:\nnode:x:${userId}:\n` },
    { kind: 'text', path: 'etc/nsswitch.conf', content: 'hosts: files dns\n' },
  ];
  return [
    ...foldersOf([...files, ...texts].map((entry) => entry.path)),
    { kind: 'folder', path: 'tmp', mode: 0o1777 },
    ...files,
    ...texts,
  ];
}

async function serviceEntries(example: string, service: string): Promise<readonly LayerEntry[]> {
  const own = [...sharedFiles, `${service}/server.mjs`];
  const files: LayerEntry[] = [];
  for (const file of own) {
    files.push({ kind: 'text', path: `app/${file}`, content: await readFile(join(example, file), 'utf8') });
  }
  return [...foldersOf(files.map((entry) => entry.path)), ...files];
}

/** Every folder above these paths, parents first. */
function foldersOf(paths: readonly string[]): readonly LayerEntry[] {
  const folders = new Set<string>();
  for (const path of paths) {
    for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) folders.add(folder);
  }
  return [...folders].sort().map((path) => ({ kind: 'folder', path }));
}

/** As OCI names it. */
const architecture = (): string => ({ x64: 'amd64', ia32: '386' })[process.arch as string] ?? process.arch;
