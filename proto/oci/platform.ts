/** Platforms (image-spec image-index.md, "platform"): what a host runs, and which image of an index fits it. */

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** Of the architecture, e.g. `v7` of `arm`. */
  readonly variant?: string;
}

/** `process.arch` in Go's words, which OCI uses. */
const architectures: Readonly<Record<string, Platform>> = {
  x64: { os: 'linux', architecture: 'amd64' },
  ia32: { os: 'linux', architecture: '386' },
  arm64: { os: 'linux', architecture: 'arm64' },
  // Node's own builds for 32-bit ARM need version 7.
  arm: { os: 'linux', architecture: 'arm', variant: 'v7' },
  ppc64: { os: 'linux', architecture: 'ppc64le' },
  loong64: { os: 'linux', architecture: 'loong64' },
  riscv64: { os: 'linux', architecture: 'riscv64' },
  s390x: { os: 'linux', architecture: 's390x' },
};

/** The platform whose images run here. Containers are Linux's, whatever `process.platform` says. */
export function hostPlatform(arch: string = process.arch): Platform {
  return architectures[arch] ?? { os: 'linux', architecture: arch };
}

/** `os/architecture` or `os/architecture/variant`. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture } = canonicalPlatform(platform);
  const variant = platform.variant ?? '';
  return variant === '' ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** Whether an image for `image` runs on `host`. */
export const platformFits = (host: Platform, image: Platform): boolean => platformRank(host, image) !== undefined;

/**
 * The one of `candidates` that fits `host` best, the first of equals: its own variant before older ones
 * (containerd `platforms/compare.go`); undefined when none fits.
 */
export function bestForPlatform<T extends { readonly platform: Platform }>(
  host: Platform,
  candidates: readonly T[],
): T | undefined {
  let best: { candidate: T; rank: number } | undefined;
  for (const candidate of candidates) {
    const rank = platformRank(host, candidate.platform);
    if (rank !== undefined && (best === undefined || rank > best.rank)) best = { candidate, rank };
  }
  return best?.candidate;
}

/** Higher is better; undefined: does not run. An older variant runs on a newer one, never the other way round. */
function platformRank(host: Platform, image: Platform): number | undefined {
  const [mine, its] = [canonicalPlatform(host), canonicalPlatform(image)];
  if (mine.os !== its.os || mine.architecture !== its.architecture) return undefined;
  const [myVersion, itsVersion] = [variantVersion(mine.variant), variantVersion(its.variant)];
  if (myVersion === undefined || itsVersion === undefined) return mine.variant === its.variant ? 0 : undefined;
  return itsVersion <= myVersion ? itsVersion : undefined;
}

function variantVersion(variant: string): number | undefined {
  const match = /^v([0-9]+)$/.exec(variant);
  return match === null ? undefined : Number(match[1]);
}

/** What an absent variant stands for (containerd `platforms/database.go`). */
const defaultVariants: Readonly<Record<string, string>> = { arm: 'v7', arm64: 'v8', amd64: 'v1' };
const aliases: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  i386: '386',
  aarch64: 'arm64',
  armhf: 'arm',
};

function canonicalPlatform(platform: Platform): Required<Platform> {
  const architecture = platform.architecture.toLowerCase();
  const canonical = aliases[architecture] ?? architecture;
  const variant = (platform.variant ?? '').toLowerCase();
  return {
    os: platform.os.toLowerCase(),
    architecture: canonical,
    variant: variant === '' ? (defaultVariants[canonical] ?? '') : variant,
  };
}
