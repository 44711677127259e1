/** Media types of manifests and layers (image-spec media-types.md; Docker's image manifest v2 schema 2). */

export const manifestTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
} as const;

/** For the `Accept` header; registries convert or refuse what is not listed. */
export const acceptedManifestTypes = Object.values(manifestTypes).join(', ');

/** Docker's first manifests had no digests of what is inside; registries still keep some. */
const obsoleteManifestTypes: readonly string[] = [
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
];

const configTypes: readonly string[] = [
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
];

export type Compression = 'none' | 'gzip' | 'zstd';

/** Layers that may not be redistributed say so in their type, but are served and unpacked like others. */
const layerTypes: Readonly<Record<string, Compression>> = {
  'application/vnd.oci.image.layer.v1.tar': 'none',
  'application/vnd.oci.image.layer.v1.tar+gzip': 'gzip',
  'application/vnd.oci.image.layer.v1.tar+zstd': 'zstd',
  'application/vnd.oci.image.layer.nondistributable.v1.tar': 'none',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip': 'gzip',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd': 'zstd',
  'application/vnd.docker.image.rootfs.diff.tar': 'none',
  'application/vnd.docker.image.rootfs.diff.tar.gzip': 'gzip',
  'application/vnd.docker.image.rootfs.diff.tar.zstd': 'zstd',
};

export const isIndexType = (mediaType: string): boolean =>
  mediaType === manifestTypes.ociIndex || mediaType === manifestTypes.dockerList;

export const isManifestType = (mediaType: string): boolean =>
  mediaType === manifestTypes.ociManifest || mediaType === manifestTypes.dockerManifest;

export const isObsoleteManifestType = (mediaType: string): boolean => obsoleteManifestTypes.includes(mediaType);

export const isImageConfigType = (mediaType: string): boolean => configTypes.includes(mediaType);

/** How the layer is compressed; undefined for a type that is no layer this program can unpack. */
export const layerCompression = (mediaType: string): Compression | undefined => layerTypes[mediaType];
