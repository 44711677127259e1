import { expect, test } from 'vitest';
import { parseManifest, selectManifest } from '../../../proto/oci/manifest.ts';
import { manifestTypes } from '../../../proto/oci/media-types.ts';

const digest = `sha256:${'1'.repeat(64)}`;
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: 10 };
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size: 20 };
const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

test('a manifest, by its type, by its own word, and by its shape', () => {
  const manifest = { schemaVersion: 2, config, layers: [layer] };
  const parsed = { kind: 'manifest', config, layers: [layer] };
  expect(parseManifest(bytes(manifest), manifestTypes.ociManifest, 'x')).toEqual(parsed);
  expect(parseManifest(bytes({ ...manifest, mediaType: manifestTypes.dockerManifest }), 'text/plain', 'x')).toEqual(
    parsed,
  );
  expect(parseManifest(bytes(manifest), '', 'x')).toEqual(parsed);
});

test('an index, and which image of it', () => {
  const entry = (architecture: string, os = 'linux'): object => ({ ...config, platform: { os, architecture } });
  const index = parseManifest(
    bytes({ schemaVersion: 2, manifests: [entry('arm64'), entry('unknown', 'unknown'), entry('amd64'), config] }),
    manifestTypes.dockerList,
    'app:1',
  );
  if (index.kind !== 'index') throw new Error('not an index');
  expect(selectManifest(index, { os: 'linux', architecture: 'amd64' }, 'app:1')).toMatchObject({ digest });
  expect(() => selectManifest(index, { os: 'linux', architecture: 's390x' }, 'app:1')).toThrow(
    'app:1 has no image for linux/s390x; it has linux/arm64, linux/amd64',
  );
});

test.each([
  ['not JSON', Buffer.from('<html>'), manifestTypes.ociManifest, 'corrupt'],
  ['a list', bytes([]), manifestTypes.ociManifest, 'corrupt'],
  ['no version', bytes({ config, layers: [] }), manifestTypes.ociManifest, 'corrupt'],
  [
    'schema 1',
    bytes({ schemaVersion: 1, fsLayers: [] }),
    'application/vnd.docker.distribution.manifest.v1+prettyjws',
    'unsupported',
  ],
  ['another thing', bytes({ schemaVersion: 2, blob: 1 }), 'application/x', 'unsupported'],
  [
    'bad digest',
    bytes({ schemaVersion: 2, config: { ...config, digest: 'sha256:../../x' }, layers: [] }),
    manifestTypes.ociManifest,
    'corrupt',
  ],
  [
    'bad size',
    bytes({ schemaVersion: 2, config, layers: [{ ...layer, size: -1 }] }),
    manifestTypes.ociManifest,
    'corrupt',
  ],
  [
    'no size',
    bytes({ schemaVersion: 2, config, layers: [{ ...layer, size: '5' }] }),
    manifestTypes.ociManifest,
    'corrupt',
  ],
  ['no layers', bytes({ schemaVersion: 2, config }), manifestTypes.ociManifest, 'corrupt'],
])('%s is refused', (_name, content, type, code) => {
  expect(() => parseManifest(content, type, 'app:1')).toThrow(expect.objectContaining({ code }));
});
