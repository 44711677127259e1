/** From a layer's descriptor to its snapshot: download, unpack, commit; each step only if it is still needed. */
import type { LimitFunction } from 'p-limit';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Descriptor } from '../../proto/oci/manifest.ts';
import { layerCompression } from '../../proto/oci/media-types.ts';
import { repositoryName } from '../../proto/oci/reference.ts';
import type { ImageReference } from '../../proto/oci/reference.ts';
import type { RegistryClient } from '../../proto/oci/registry-client.ts';
import type { ContentStore } from './content-store.ts';
import type { ImageLimits } from './limits.ts';
import { adoptDirectories, chainSnapshotName, layerSnapshotName } from './snapshot-store.ts';
import type { SnapshotStore } from './snapshot-store.ts';
import { JointWork } from './joint-work.ts';
import { unpackLayer } from './unpack.ts';
import type { UnpackTools } from './unpack.ts';

export interface LayerTools {
  readonly client: RegistryClient;
  readonly content: ContentStore;
  readonly snapshots: SnapshotStore;
  readonly unpack: UnpackTools & { readonly limits: ImageLimits };
  readonly downloads: LimitFunction;
  readonly unpacks: LimitFunction;
}

export interface LayerRequest {
  readonly reference: ImageReference;
  readonly blob: Descriptor;
  readonly diffId: string;
  readonly chainId: string;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: LayerProgress) => void;
  /** Names of the snapshots below, topmost first; waits until they are there. Only asked if the layer depends on them. */
  readonly below: () => Promise<readonly string[]>;
}

export interface LayerProgress {
  readonly doneBytes: number;
  readonly phase: 'downloading' | 'unpacking';
}

/** `dependent`: the layer has to be unpacked again, on top of the ones below it. */
type FirstUnpack = { readonly kind: 'committed'; readonly name: string } | { readonly kind: 'dependent' };

export class LayerPuller {
  private readonly tools: LayerTools;
  private readonly firstUnpacks = new JointWork<FirstUnpack, LayerProgress>();
  private readonly dependentUnpacks = new JointWork<string, LayerProgress>();

  constructor(tools: LayerTools) {
    this.tools = tools;
  }

  /** The name of the layer's snapshot if it is there. */
  async find(diffId: string, chainId: string): Promise<string | undefined> {
    for (const name of [layerSnapshotName(diffId), chainSnapshotName(chainId)]) {
      if (await this.tools.snapshots.has(name)) return name;
    }
    return undefined;
  }

  /** @returns the name of the layer's snapshot. @throws FrotaError, see `Images.ensure`; it names the layer. */
  async pull(request: LayerRequest): Promise<string> {
    const found = await this.find(request.diffId, request.chainId);
    if (found !== undefined) return found;
    const claim = this.tools.content.claimLayer(request.blob.digest);
    try {
      // Shared by repository: what one registry can't serve, another one may.
      const key = `${repositoryName(request.reference)} ${request.blob.digest} ${request.diffId}`;
      const first = await this.firstUnpacks.join(key, request, async ({ signal, report }) => {
        await this.download(request, signal, report);
        return this.unpackAlone(request, signal, report);
      });
      if (first.kind === 'committed') return first.name;
      const below = await request.below();
      return await this.dependentUnpacks.join(`${key} ${request.chainId}`, request, async ({ signal, report }) => {
        await this.download(request, signal, report);
        return this.unpackOnTop(request, below, signal, report);
      });
    } finally {
      await claim.release();
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.firstUnpacks.close(), this.dependentUnpacks.close()]);
  }

  private async download(
    { reference, blob }: LayerRequest,
    signal: AbortSignal,
    report: (progress: LayerProgress) => void,
  ): Promise<void> {
    const { client, content, downloads } = this.tools;
    await downloads(async () => {
      if (await content.hasLayer(blob)) return;
      const bytes = client.readBlob(reference, blob, { signal });
      const counted = counting(bytes, (doneBytes) => {
        report({ doneBytes, phase: 'downloading' });
      });
      await content.ingestLayer(blob, layerWhere(reference, blob), counted);
    });
  }

  private async unpackAlone(
    request: LayerRequest,
    signal: AbortSignal,
    report: (progress: LayerProgress) => void,
  ): Promise<FirstUnpack> {
    const name = layerSnapshotName(request.diffId);
    const found = { isDependent: false };
    try {
      await this.tools.snapshots.create(name, async (dir) => {
        const implied = await this.unpackInto(dir, request, signal, report);
        found.isDependent = implied.length > 0;
        if (found.isDependent) throw new FrotaError('conflict', 'the layer depends on the ones below it');
      });
    } catch (error) {
      if (!found.isDependent) throw error;
      return { kind: 'dependent' };
    }
    return { kind: 'committed', name };
  }

  private async unpackOnTop(
    request: LayerRequest,
    below: readonly string[],
    signal: AbortSignal,
    report: (progress: LayerProgress) => void,
  ): Promise<string> {
    const { snapshots } = this.tools;
    const name = chainSnapshotName(request.chainId);
    await snapshots.create(name, async (dir) => {
      const implied = await this.unpackInto(dir, request, signal, report);
      await adoptDirectories(
        dir,
        implied,
        below.map((each) => snapshots.path(each)),
      );
    });
    return name;
  }

  private async unpackInto(
    targetDir: string,
    { reference, blob, diffId }: LayerRequest,
    signal: AbortSignal,
    report: (progress: LayerProgress) => void,
  ): Promise<readonly string[]> {
    const { content, unpack, unpacks } = this.tools;
    report({ doneBytes: blob.size, phase: 'unpacking' });
    const where = layerWhere(reference, blob);
    const compression = layerCompression(blob.mediaType);
    if (compression === undefined) throw unknownLayerType(where, blob);
    const layer = { blobPath: content.layerPath(blob.digest), compression, diffId, where, targetDir };
    return (await unpacks(() => unpackLayer(layer, unpack, signal))).impliedDirectories;
  }
}

/** Refuses layers that can't be unpacked here before anything of them is fetched. */
export function checkLayer(reference: ImageReference, blob: Descriptor, limits: ImageLimits): void {
  const where = layerWhere(reference, blob);
  if (layerCompression(blob.mediaType) === undefined) throw unknownLayerType(where, blob);
  if (blob.size > limits.maxBlobBytes) {
    throw new FrotaError(
      'exhausted',
      `${where} has ${String(blob.size)} bytes; the limit is ${String(limits.maxBlobBytes)}`,
    );
  }
}

const layerWhere = (reference: ImageReference, blob: Descriptor): string =>
  `layer ${blob.digest} of ${repositoryName(reference)}`;

const unknownLayerType = (where: string, blob: Descriptor): FrotaError =>
  new FrotaError('unsupported', `${where} is of type "${blob.mediaType}", which can't be unpacked`);

async function* counting(source: AsyncIterable<Buffer>, onBytes: (done: number) => void): AsyncGenerator<Buffer> {
  let done = 0;
  for await (const chunk of source) {
    done += chunk.length;
    onBytes(done);
    yield chunk;
  }
}
