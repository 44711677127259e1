/** The images port: from a resolved reference to directories that an overlay mount can be made of. */
import type { HealthCheck } from '../../proto/domain/health.ts';
import type { ResolvedImage } from '../../proto/domain/service.ts';

/** The parts of the OCI image config that a container is made from (image-spec config.md). */
export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  /** `KEY=value`. */
  readonly environment: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly stopSignal?: string;
  /** Docker's addition to the specification, as its builders write it; fields that are 0 there are absent here. */
  readonly healthCheck?: HealthCheck;
  /** What runs a `CMD-SHELL` test; absent: `/bin/sh -c`. Docker's addition, too. */
  readonly shell?: readonly string[];
  /** Absolute paths that are to be volumes wherever the image runs. */
  readonly volumes?: readonly string[];
}

export interface Image {
  /** Digest of the platform's manifest. */
  readonly manifestDigest: string;
  readonly config: ImageConfig;
  /** Snapshot directories, topmost first, as overlayfs `lowerdir` wants them. Complete and durable. */
  readonly lowerDirs: readonly string[];
}

export interface PullProgress {
  readonly totalBytes: number;
  readonly doneBytes: number;
  readonly phase: 'downloading' | 'unpacking';
}

export interface Images {
  /**
   * Makes the image present and returns it; quick when it is already. Several callers for one layer share one download.
   * @throws FrotaError `not-found` (no such manifest or blob), `corrupt` (a digest or size does not match),
   * `unsupported` (no manifest for this platform, unknown media type), `unavailable` (registry not reachable, after
   * retries), `unauthenticated`, `exhausted` (disk full or a limit), `cancelled`; the message names image, registry and digest.
   */
  ensure(
    image: ResolvedImage,
    options: { signal: AbortSignal; onProgress?: (progress: PullProgress) => void },
  ): Promise<Image>;
  /** Removes what an interrupted pull left: partial blobs, half-unpacked snapshots, stale mounts. Called once at start. */
  sweep(): Promise<void>;
}
