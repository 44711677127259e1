/**
 * From a layer as images carry it (image-spec layer.md) to an archive that GNU tar unpacks into an overlayfs lower
 * directory: whiteouts become character devices 0:0, opaque markers an extended attribute of their directory. Both are
 * written at the end, when it is known what else the layer holds: whiteouts hide layers below, never their own.
 * Everything else passes byte for byte. What two readers of tar could understand differently is refused.
 */
import { FrotaError } from '../../proto/base/errors.ts';
import {
  blockSize,
  isZeroBlock,
  malformed,
  paddingAfter,
  parseHeader,
  parsePax,
  paxNumber,
  sparseMapGoesOn,
  withoutSize,
  writeEntry,
} from './tar-header.ts';
import type { TarHeader } from './tar-header.ts';

export interface LayerLimits {
  /** Of the archive, headers included. */
  readonly maxUnpackedBytes: number;
  readonly maxEntries: number;
}

/** What the layer turned out to hold. */
export interface LayerReport {
  readonly entries: number;
  /**
   * Directories the layer puts something into without saying what they are, parents first, as bytes in latin1. The
   * layers below know their owner and mode; a layer without any is the same whatever lies below it.
   */
  readonly impliedDirectories: readonly string[];
}

interface Directory {
  readonly mode: number;
  readonly records: Readonly<Record<string, string>>;
}

type State = 'header' | 'extension' | 'sparse-map' | 'data' | 'end';

const whiteoutPrefix = '.wh.';
/** AUFS keeps things of its own under names that begin so; of them only the opaque marker means anything to others. */
const metadataPrefix = '.wh..wh.';
const opaqueMarker = '.wh..wh..opq';
const opaqueRecord = { 'SCHILY.xattr.trusted.overlay.opaque': 'y' };
/** Paths are at most 4 KiB, extended attributes 64 KiB each; more is an attempt to fill the memory. */
const maxExtensionBytes = 1024 * 1024;
/** GNU's long name and long link, PAX for one entry, PAX for all that follow. */
const extensionTypes = 'LKxg';
const typesWithData = '\x000' + '7S';
const typesWithoutData = '123456';
const directoryType = '5';
const sparseType = 'S';

export class LayerRewriter {
  private readonly limits: LayerLimits;
  private state: State = 'header';
  private readonly partial: Buffer[] = [];
  private partialSize = 0;
  /** Bytes still to come: of the extension with its padding, or of data with its padding. */
  private remaining = 0;
  private keepsData = false;
  private zeroBlocks = 0;
  private bytes = 0;
  private entries = 0;
  /** The extension being read: its header block, type and size. */
  private extension: { block: Buffer; type: string; size: number } | undefined;
  /** Extensions of the next entry, as they came and as they read. */
  private pending: Buffer[] = [];
  private longName: string | undefined;
  private hasLongLink = false;
  private pax: ReadonlyMap<string, string> | undefined;
  private readonly known = new Map<string, Directory | undefined>();
  private readonly implied = new Set<string>();
  private readonly whiteouts = new Set<string>();
  private readonly opaque = new Set<string>();

  constructor(limits: LayerLimits) {
    this.limits = limits;
  }

  /** @returns what these bytes become. @throws FrotaError `corrupt`, `exhausted` (a limit), `unsupported`. */
  push(chunk: Buffer): Buffer {
    this.bytes += chunk.length;
    if (this.bytes > this.limits.maxUnpackedBytes) {
      throw new FrotaError(
        'exhausted',
        `it is larger than ${String(this.limits.maxUnpackedBytes)} bytes when unpacked`,
      );
    }
    const out: Buffer[] = [];
    for (let offset = 0; offset < chunk.length && this.state !== 'end';) {
      offset += this.state === 'data' ? this.passData(chunk, offset, out) : this.collect(chunk, offset, out);
    }
    return out.length === 1 && out[0] !== undefined ? out[0] : Buffer.concat(out);
  }

  /** @returns whiteouts, opaque directories and the end mark. @throws as `push`, also when the archive is cut short. */
  end(): Buffer {
    const atBoundary = this.state === 'header' && this.partialSize === 0 && this.pending.length === 0;
    if (this.state !== 'end' && !atBoundary) throw malformed('it ends too early');
    const out: Buffer[] = [];
    for (const path of this.whiteouts) {
      if (this.known.has(path) || this.implied.has(path)) {
        // The layer replaces what it hides: a directory that comes anew must not show the old one's contents.
        if (this.implied.has(path) || this.known.get(path) !== undefined) this.opaque.add(path);
      } else out.push(writeEntry({ path, type: 'whiteout', mode: 0, records: { mtime: '0' } }));
    }
    for (const path of this.opaque) out.push(this.opaqueDirectory(path));
    out.push(Buffer.alloc(2 * blockSize));
    return Buffer.concat(out);
  }

  report(): LayerReport {
    return { entries: this.entries, impliedDirectories: [...this.implied].sort() };
  }

  private passData(chunk: Buffer, offset: number, out: Buffer[]): number {
    const length = Math.min(this.remaining, chunk.length - offset);
    if (this.keepsData) out.push(chunk.subarray(offset, offset + length));
    this.remaining -= length;
    if (this.remaining === 0) this.state = 'header';
    return length;
  }

  /** Gathers a whole block, or a whole extension, and handles it. */
  private collect(chunk: Buffer, offset: number, out: Buffer[]): number {
    const wanted = this.state === 'extension' ? this.remaining : blockSize;
    const length = Math.min(wanted - this.partialSize, chunk.length - offset);
    this.partial.push(chunk.subarray(offset, offset + length));
    this.partialSize += length;
    if (this.partialSize < wanted) return length;
    const [first] = this.partial;
    const whole = this.partial.length === 1 && first !== undefined ? first : Buffer.concat(this.partial);
    this.partial.length = 0;
    this.partialSize = 0;
    if (this.state === 'extension') this.takeExtension(whole);
    else if (this.state === 'sparse-map') this.takeSparseMap(whole, out);
    else this.takeHeader(whole, out);
    return length;
  }

  private takeHeader(block: Buffer, out: Buffer[]): void {
    if (isZeroBlock(block)) {
      this.zeroBlocks += 1;
      if (this.pending.length > 0) throw malformed('it ends after an extended header');
      if (this.zeroBlocks === 2) this.state = 'end';
      return;
    }
    if (this.zeroBlocks > 0) throw malformed('an empty block stands between two entries');
    const header = parseHeader(block);
    if (extensionTypes.includes(header.type)) this.beginExtension(header, block);
    else this.takeEntry(header, block, out);
  }

  private beginExtension(header: TarHeader, block: Buffer): void {
    if (header.size > maxExtensionBytes) throw malformed(`an extended header has ${String(header.size)} bytes`);
    this.extension = { block: Buffer.from(block), type: header.type, size: header.size };
    this.remaining = header.size + paddingAfter(header.size);
    this.state = 'extension';
    if (this.remaining === 0) this.takeExtension(Buffer.alloc(0));
  }

  private takeExtension(padded: Buffer): void {
    const extension = this.extension;
    if (extension === undefined) throw malformed('an extended header has no header');
    this.extension = undefined;
    this.remaining = 0;
    this.state = 'header';
    // Nobody applies global records to layers (containerd and Docker skip them too).
    if (extension.type === 'g') return;
    const body = padded.subarray(0, extension.size);
    const isSecond =
      (extension.type === 'x' && this.pax !== undefined) ||
      (extension.type === 'L' && this.longName !== undefined) ||
      (extension.type === 'K' && this.hasLongLink);
    if (isSecond) throw malformed('an entry has two extended headers of one kind');
    if (extension.type === 'x') this.pax = parsePax(body);
    if (extension.type === 'L') this.longName = untilNul(body.toString('latin1'));
    if (extension.type === 'K') this.hasLongLink = true;
    this.pending.push(extension.block, Buffer.from(padded));
  }

  private takeEntry(header: TarHeader, block: Buffer, out: Buffer[]): void {
    const pax: ReadonlyMap<string, string> = this.pax ?? new Map<string, string>();
    if ((this.longName !== undefined && pax.has('path')) || (this.hasLongLink && pax.has('linkpath'))) {
      throw malformed('an entry has two long names');
    }
    const name = pax.get('GNU.sparse.name') ?? pax.get('path') ?? this.longName ?? header.name;
    const size = this.dataSize(header, pax, name);
    this.entries += 1;
    if (this.entries > this.limits.maxEntries) {
      throw new FrotaError('exhausted', `it has more than ${String(this.limits.maxEntries)} entries`);
    }
    const kept = this.remember(name, header, pax);
    if (kept) {
      out.push(
        ...this.pending,
        header.size === 0 || size > 0 || pax.has('size') ? Buffer.from(block) : withoutSize(block),
      );
    }
    this.pending = [];
    this.pax = undefined;
    this.longName = undefined;
    this.hasLongLink = false;
    this.keepsData = kept;
    this.remaining = size + paddingAfter(size);
    if (header.type === sparseType && sparseMapGoesOn(block, true)) this.state = 'sparse-map';
    else this.state = this.remaining === 0 ? 'header' : 'data';
  }

  private takeSparseMap(block: Buffer, out: Buffer[]): void {
    if (this.keepsData) out.push(Buffer.from(block));
    if (sparseMapGoesOn(block, false)) return;
    this.state = this.remaining === 0 ? 'header' : 'data';
  }

  private dataSize(header: TarHeader, pax: ReadonlyMap<string, string>, name: string): number {
    const stated = pax.get('size');
    const size = stated === undefined ? header.size : paxNumber(stated, 'size');
    if (typesWithData.includes(header.type)) return size;
    if (!typesWithoutData.includes(header.type)) {
      throw new FrotaError(
        'unsupported',
        `${shown(name)} is of type ${JSON.stringify(header.type)}, which layers do not have`,
      );
    }
    if (stated !== undefined && size !== 0) throw malformed(`${shown(name)} can't have data, but says it has`);
    return 0;
  }

  /** Notes what the entry is; false for markers, which are not passed on. */
  private remember(name: string, header: TarHeader, pax: ReadonlyMap<string, string>): boolean {
    const parts = pathParts(name);
    const last = parts.at(-1) ?? '';
    const parent = parts.slice(0, -1).join('/');
    if (last === opaqueMarker) {
      if (parent === '') {
        throw new FrotaError(
          'unsupported',
          'it hides everything below it (an opaque root), which overlayfs can not do',
        );
      }
      this.opaque.add(parent);
      this.implyDirectories(parts.slice(0, -1));
      return false;
    }
    if (parts.some((part) => part.startsWith(metadataPrefix))) return false;
    if (last.startsWith(whiteoutPrefix)) {
      const hidden = last.slice(whiteoutPrefix.length);
      if (hidden === '' || hidden === '.' || hidden === '..')
        throw malformed(`${shown(name)} is a whiteout of nothing`);
      this.whiteouts.add(parent === '' ? hidden : `${parent}/${hidden}`);
      this.implyDirectories(parts.slice(0, -1));
      return false;
    }
    if (parts.length === 0) return true;
    const path = parts.join('/');
    const isDirectory = header.type === directoryType || (typesWithData.includes(header.type) && name.endsWith('/'));
    this.known.set(path, isDirectory ? directoryOf(header, pax) : undefined);
    this.implied.delete(path);
    this.implyDirectories(parts.slice(0, -1));
    return true;
  }

  private implyDirectories(parts: readonly string[]): void {
    for (let depth = parts.length; depth > 0; depth -= 1) {
      const path = parts.slice(0, depth).join('/');
      if (this.known.has(path) || this.implied.has(path)) return;
      this.implied.add(path);
    }
  }

  private opaqueDirectory(path: string): Buffer {
    const directory = this.known.get(path) ?? { mode: 0o755, records: { mtime: '0' } };
    const records = { ...directory.records, ...opaqueRecord };
    return writeEntry({ path, type: 'directory', mode: directory.mode, records });
  }
}

function directoryOf(header: TarHeader, pax: ReadonlyMap<string, string>): Directory {
  const records = {
    uid: pax.get('uid') ?? String(header.uid),
    gid: pax.get('gid') ?? String(header.gid),
    mtime: pax.get('mtime') ?? String(header.mtime),
  };
  return { mode: header.mode, records };
}

/** The parts of a path below the layer's root. @throws FrotaError `corrupt` when it leads out. */
function pathParts(name: string): readonly string[] {
  if (name.includes('\0')) throw malformed(`the name ${shown(name)} contains a NUL byte`);
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw new FrotaError('corrupt', `its entry ${shown(name)} leads out of the layer`);
  return parts;
}

const untilNul = (value: string): string => {
  const end = value.indexOf('\0');
  return end === -1 ? value : value.slice(0, end);
};

const maxShownName = 120;

/** A name for people: latin1 bytes read as UTF-8, quoted, cut. */
function shown(name: string): string {
  const text = JSON.stringify(Buffer.from(name, 'latin1').toString('utf8'));
  return text.length > maxShownName ? `${text.slice(0, maxShownName)}…"` : text;
}
