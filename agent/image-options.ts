/** The part of `frota agent`'s command line that says what images may ask of this node. Part of the composition root. */
import { InvalidArgumentError, Option } from 'commander';
import { defaultImageLimits } from './images/limits.ts';
import type { ImageLimits } from './images/limits.ts';

/** As commander names what its flags give. */
export interface ImageOptions {
  readonly maxLayerSize: number;
  readonly maxUnpackedLayer: number;
  readonly maxLayerEntries: number;
  readonly keepFree: number;
  readonly parallelDownloads: number;
  readonly parallelUnpacks: number;
}

const unitBytes: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 };
/** Names of a layer's entries are in memory while it is unpacked, some hundred bytes each. */
const mostEntries = 100_000_000;
/** Each download is a connection and each unpacking about two cores; more of them only wait for each other. */
const mostAtOnce = 64;

const size = (text: string): number => {
  const [, value, unit] = /^(\d{1,9})(B|KiB|MiB|GiB|TiB)$/.exec(text) ?? [];
  const bytes = Number(value) * (unitBytes[unit ?? ''] ?? NaN);
  if (!Number.isSafeInteger(bytes)) throw new InvalidArgumentError('give a size such as 512MiB or 16GiB.');
  return bytes;
};

const someSize = (text: string): number => {
  const bytes = size(text);
  if (bytes === 0) throw new InvalidArgumentError('with 0 no image could be pulled; give a size such as 16GiB.');
  return bytes;
};

const count =
  (most: number) =>
  (text: string): number => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
    if (!(value >= 1 && value <= most)) throw new InvalidArgumentError(`give a number, 1 to ${String(most)}.`);
    return value;
  };

const sizeText = (bytes: number): string => {
  const fits = Object.entries(unitBytes).filter(([, unit]) => bytes % unit === 0);
  const [name, unit] = fits.at(-1) ?? ['B', 1];
  return `${String(bytes / unit)}${name}`;
};

/** In the order in which help shows them. */
export function imageFlags(): readonly Option[] {
  const limits = defaultImageLimits;
  const sizeFlag = (flag: string, text: string, bytes: number, read: (text: string) => number): Option =>
    new Option(`${flag} <size>`, text).default(bytes, sizeText(bytes)).argParser(read);
  const countFlag = (flag: string, text: string, value: number, most: number): Option =>
    new Option(`${flag} <count>`, text).default(value).argParser(count(most));
  return [
    sizeFlag('--max-layer-size', 'largest layer of an image, as it is downloaded', limits.maxBlobBytes, someSize),
    sizeFlag(
      '--max-unpacked-layer',
      'largest layer of an image when it is unpacked',
      limits.maxUnpackedBytes,
      someSize,
    ),
    countFlag('--max-layer-entries', 'most files and folders in one layer', limits.maxEntries, mostEntries),
    sizeFlag('--keep-free', 'what no image may take of the disk', limits.keepFreeBytes, size),
    countFlag('--parallel-downloads', 'layers downloaded at once', limits.parallelDownloads, mostAtOnce),
    countFlag('--parallel-unpacks', 'layers unpacked at once', limits.parallelUnpacks, mostAtOnce),
  ];
}

export const imageLimits = (given: ImageOptions): Partial<ImageLimits> => ({
  maxBlobBytes: given.maxLayerSize,
  maxUnpackedBytes: given.maxUnpackedLayer,
  maxEntries: given.maxLayerEntries,
  keepFreeBytes: given.keepFree,
  parallelDownloads: given.parallelDownloads,
  parallelUnpacks: given.parallelUnpacks,
});
