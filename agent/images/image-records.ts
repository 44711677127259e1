/**
 * What is present: one small durable file per image, written when all its snapshots are. It is named after the digest
 * that was asked for, of a manifest or of an index, and answers without the registry.
 */
import { mkdir, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hexOf, isDigest } from '../../proto/oci/digest.ts';
import { formatPlatform } from '../../proto/oci/platform.ts';
import type { Platform } from '../../proto/oci/platform.ts';
import { writeFileDurably } from '../host/durable-file.ts';

export interface ImageRecord {
  /** As asked for. */
  readonly digest: string;
  /** The platform's manifest; the same as `digest` unless that is an index. */
  readonly manifestDigest: string;
  readonly configDigest: string;
  /** Names of its snapshots, topmost first. */
  readonly snapshots: readonly string[];
}

/** Raised when a record's meaning changes; older ones are then pulled anew. */
const recordVersion = 1;

export class ImageRecords {
  private readonly dir: string;
  private readonly workDir: string;
  private readonly platform: string;

  constructor(rootDir: string, platform: Platform) {
    this.dir = join(rootDir, 'records');
    this.workDir = join(rootDir, 'ingest');
    this.platform = formatPlatform(platform);
  }

  async open(): Promise<void> {
    await mkdir(this.dir, { recursive: true, mode: 0o700 });
  }

  /** Undefined if there is none, or none this version and platform can use. */
  async find(digest: string): Promise<ImageRecord | undefined> {
    return this.parse(await readFile(this.path(digest), 'utf8').catch(() => undefined));
  }

  async put(record: ImageRecord): Promise<void> {
    const text = JSON.stringify({ version: recordVersion, platform: this.platform, ...record }, undefined, 2);
    await writeFileDurably(this.path(record.digest), `${text}\n`, this.workDir);
  }

  /** All usable records; the others are removed. */
  async sweep(): Promise<readonly ImageRecord[]> {
    const records: ImageRecord[] = [];
    for (const name of await readdir(this.dir)) {
      const path = join(this.dir, name);
      const record = this.parse(await readFile(path, 'utf8').catch(() => undefined));
      if (record === undefined) await rm(path, { recursive: true, force: true });
      else records.push(record);
    }
    return records;
  }

  private path(digest: string): string {
    return join(this.dir, `${hexOf(digest)}.json`);
  }

  private parse(text: string | undefined): ImageRecord | undefined {
    if (text === undefined) return undefined;
    try {
      const json = JSON.parse(text) as Partial<ImageRecord> & { version?: unknown; platform?: unknown };
      const { version, platform, digest = '', manifestDigest = '', configDigest = '', snapshots } = json;
      const isUsable = version === recordVersion && platform === this.platform && Array.isArray(snapshots);
      if (!isUsable || ![digest, manifestDigest, configDigest].every(isDigest)) return undefined;
      return { digest, manifestDigest, configDigest, snapshots };
    } catch {
      // Half a record can't be (it is renamed into place), but a damaged disk must not stop the agent.
      return undefined;
    }
  }
}
