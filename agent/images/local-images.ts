/** The images of one node: looks first at what is there, and pulls the rest from the registry. */
import { setMaxListeners } from 'node:events';
import pLimit from 'p-limit';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { ResolvedImage } from '../../proto/domain/service.ts';
import { isDigest } from '../../proto/oci/digest.ts';
import type { Descriptor } from '../../proto/oci/manifest.ts';
import type { Platform } from '../../proto/oci/platform.ts';
import { formatReference, parseReference } from '../../proto/oci/reference.ts';
import type { ImageReference } from '../../proto/oci/reference.ts';
import type { RegistryClient } from '../../proto/oci/registry-client.ts';
import type { ContentStore } from './content-store.ts';
import { parseImageConfig } from './image-config.ts';
import type { ImageDescription } from './image-config.ts';
import type { ImageRecord, ImageRecords } from './image-records.ts';
import { configWhere, fetchImage } from './image-source.ts';
import type { PinnedReference } from './image-source.ts';
import type { Image, Images, PullProgress } from './images.ts';
import { LayerPuller } from './layer-pull.ts';
import type { LayerProgress } from './layer-pull.ts';
import type { ImageLimits } from './limits.ts';
import { JointWork } from './joint-work.ts';
import { chainIds } from './snapshot-store.ts';
import type { SnapshotStore } from './snapshot-store.ts';
import type { UnpackTools } from './unpack.ts';

export interface LocalImagesParts {
  readonly client: RegistryClient;
  readonly content: ContentStore;
  readonly snapshots: SnapshotStore;
  readonly records: ImageRecords;
  readonly unpack: UnpackTools & { readonly limits: ImageLimits };
  readonly platform: Platform;
  readonly logger: Logger;
}

/** People look ten times a second at the most. */
const progressIntervalMs = 100;

export class LocalImages implements Images {
  private readonly parts: LocalImagesParts;
  private readonly layers: LayerPuller;
  private readonly pulls = new JointWork<Image, PullProgress>();
  private isClosed = false;

  constructor(parts: LocalImagesParts) {
    this.parts = parts;
    this.layers = new LayerPuller({
      ...parts,
      downloads: pLimit(parts.unpack.limits.parallelDownloads),
      unpacks: pLimit(parts.unpack.limits.parallelUnpacks),
    });
  }

  async ensure(
    image: ResolvedImage,
    options: { signal: AbortSignal; onProgress?: (progress: PullProgress) => void },
  ): Promise<Image> {
    if (this.isClosed) throw new FrotaError('cancelled', 'the agent stops: no image is pulled any more');
    if (!isDigest(image.digest)) {
      throw new FrotaError(
        'invalid',
        `image ${image.reference} has no digest ("${image.digest}"); apply its stack again`,
      );
    }
    const reference = { ...parseReference(image.reference), digest: image.digest };
    const present = await this.findPresent(reference);
    if (present !== undefined) return present;
    return this.pulls.join(formatReference(reference), options, ({ signal, report }) =>
      this.pull(reference, signal, report),
    );
  }

  async sweep(): Promise<void> {
    const { content, snapshots, records } = this.parts;
    const kept = new Set<string>();
    for (const { digest, manifestDigest, configDigest } of await records.sweep()) {
      for (const each of [digest, manifestDigest, configDigest]) kept.add(each);
    }
    await content.sweep((digest) => kept.has(digest));
    await snapshots.sweep();
  }

  /** Breaks off every pull and waits until what they had begun is removed. */
  async close(): Promise<void> {
    this.isClosed = true;
    await this.pulls.close();
    await this.layers.close();
    await this.parts.client.close();
  }

  /** What the disk alone can answer. */
  private async findPresent(reference: PinnedReference): Promise<Image | undefined> {
    const { records, content, snapshots } = this.parts;
    const record = await records.find(reference.digest);
    if (record === undefined) return undefined;
    const config = await content.readDocument(record.configDigest);
    if (config === undefined) return undefined;
    for (const name of record.snapshots) if (!(await snapshots.has(name))) return undefined;
    return this.imageOf(record, parseImageConfig(config, configWhere(reference)));
  }

  private async pull(
    reference: PinnedReference,
    signal: AbortSignal,
    report: (progress: PullProgress) => void,
  ): Promise<Image> {
    const { content, records, logger } = this.parts;
    const startedAt = performance.now();
    const image = await fetchImage({ ...this.parts, limits: this.parts.unpack.limits }, reference, signal);
    const { manifestDigest, configDigest, description } = image;
    const snapshots = await this.pullLayers(reference, image.layers, description.diffIds, signal, report);
    for (const [digest, bytes] of image.documents) await content.putDocument(digest, bytes, digest);
    const record: ImageRecord = { digest: reference.digest, manifestDigest, configDigest, snapshots };
    await records.put(record);
    logger.info(
      {
        image: formatReference(reference),
        layers: snapshots.length,
        tookMs: Math.round(performance.now() - startedAt),
      },
      'image pulled',
    );
    return this.imageOf(record, description);
  }

  /** @returns names of snapshots, topmost first, each once. When one layer fails the others are stopped first. */
  private async pullLayers(
    reference: ImageReference,
    blobs: readonly Descriptor[],
    diffIds: readonly string[],
    signal: AbortSignal,
    report: (progress: PullProgress) => void,
  ): Promise<readonly string[]> {
    const chain = chainIds(diffIds);
    const stop = new AbortController();
    // Every layer listens to it, and there may be more than Node takes for a leak.
    setMaxListeners(0, stop.signal);
    const onAbort = (): void => {
      stop.abort();
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    const progress = progressOf(blobs, report);
    const results: Promise<string>[] = [];
    for (const [index, blob] of blobs.entries()) {
      const pulling = this.layers.pull({
        reference,
        blob,
        diffId: diffIds[index] ?? '',
        chainId: chain[index] ?? '',
        signal: stop.signal,
        onProgress: (each) => {
          progress(index, each);
        },
        below: async () => (await Promise.all(results.slice(0, index))).reverse(),
      });
      results.push(
        pulling.then(
          (name) => {
            progress(index, { doneBytes: blob.size, phase: 'unpacking' });
            return name;
          },
          (error: unknown) => {
            stop.abort();
            throw error;
          },
        ),
      );
    }
    const outcomes = await Promise.allSettled(results);
    signal.removeEventListener('abort', onAbort);
    return topmostFirst(outcomes, reference);
  }

  private imageOf(record: ImageRecord, { config }: ImageDescription): Image {
    const lowerDirs = record.snapshots.map((name) => this.parts.snapshots.path(name));
    return { manifestDigest: record.manifestDigest, config, lowerDirs };
  }
}

/**
 * A layer that comes twice is mounted once, at its upper place: overlayfs refuses the same directory twice, and
 * what the lower one holds or hides, the upper one holds or hides as well.
 */
function topmostFirst(outcomes: readonly PromiseSettledResult<string>[], reference: ImageReference): readonly string[] {
  const failures = outcomes.flatMap((outcome) =>
    outcome.status === 'rejected' ? [FrotaError.from(outcome.reason)] : [],
  );
  // The others were stopped because of the first: theirs is `cancelled`.
  const failure = failures.find(({ code }) => code !== 'cancelled') ?? failures[0];
  if (failure !== undefined) {
    throw new FrotaError(failure.code, `image ${formatReference(reference)}: ${failure.message}`, { cause: failure });
  }
  const names = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  return [...new Set(names.reverse())];
}

/** Sums the layers' progress; tells it at once at the start, when the phase changes, and else at intervals. */
function progressOf(
  blobs: readonly Descriptor[],
  report: (progress: PullProgress) => void,
): (index: number, progress: LayerProgress) => void {
  const totalBytes = blobs.reduce((sum, blob) => sum + blob.size, 0);
  const done = new Map<number, LayerProgress>();
  let toldAt = -Infinity;
  let toldPhase = '';
  return (index, progress) => {
    done.set(index, progress);
    const all = [...done.values()];
    const doneBytes = all.reduce((sum, each) => sum + each.doneBytes, 0);
    const phase = doneBytes < totalBytes ? 'downloading' : 'unpacking';
    const nowAt = performance.now();
    if (phase === toldPhase && nowAt - toldAt < progressIntervalMs) return;
    toldAt = nowAt;
    toldPhase = phase;
    report({ totalBytes, doneBytes, phase });
  };
}
