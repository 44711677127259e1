/** What an image may ask of a node. */
import type { LayerLimits } from './layer-rewriter.ts';

export interface ImageLimits extends LayerLimits {
  readonly maxLayers: number;
  /** Of one layer as it is downloaded. */
  readonly maxBlobBytes: number;
  readonly maxConfigBytes: number;
  /** What no image may take of the disk. */
  readonly keepFreeBytes: number;
  /** Layers, over all images. */
  readonly parallelDownloads: number;
  readonly parallelUnpacks: number;
}

const mebibyte = 1024 ** 2;
const gibibyte = 1024 ** 3;

export const defaultImageLimits: ImageLimits = {
  // Docker's limit; with short names the mount options of so many still fit a page (see snapshot-store).
  maxLayers: 127,
  maxBlobBytes: 16 * gibibyte,
  // The largest useful layers (CUDA, models) have some 10 GiB; a bomb of zeros must not fill the disk.
  maxUnpackedBytes: 16 * gibibyte,
  // Large language environments have some 400,000 files a layer; names are kept in memory while it is unpacked.
  maxEntries: 1_000_000,
  // containerd's limit for configs.
  maxConfigBytes: 8 * mebibyte,
  // Running containers write to the same disk, and so does the agent: journal, records, logs.
  keepFreeBytes: 64 * mebibyte,
  // Docker's default: more connections to one registry bring little, and slow each other.
  parallelDownloads: 3,
  // Each keeps about two cores busy (decompression, two hashes, tar).
  parallelUnpacks: 2,
};
