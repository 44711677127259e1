import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrotaError } from '../../../proto/base/errors.ts';
import { formatReference, parseReference } from '../../../proto/oci/reference.ts';

const sha = `sha256:${'a'.repeat(64)}`;

describe('parseReference', () => {
  test.each([
    ['nginx', 'docker.io/library/nginx:latest'],
    ['nginx:1.27', 'docker.io/library/nginx:1.27'],
    ['team/app', 'docker.io/team/app:latest'],
    ['docker.io/nginx', 'docker.io/library/nginx:latest'],
    ['index.docker.io/team/app:1', 'docker.io/team/app:1'],
    ['localhost/app', 'localhost/app:latest'],
    ['localhost:5000/app', 'localhost:5000/app:latest'],
    ['127.0.0.1:5000/a/b/c:v1', '127.0.0.1:5000/a/b/c:v1'],
    ['[::1]:5000/app:1', '[::1]:5000/app:1'],
    ['ghcr.io/org/app', 'ghcr.io/org/app:latest'],
    ['registry/app', 'docker.io/registry/app:latest'],
    ['Registry/app', 'Registry/app:latest'],
    ['a__b/c.d-e--f', 'docker.io/a__b/c.d-e--f:latest'],
    [`nginx@${sha}`, `docker.io/library/nginx@${sha}`],
    [`nginx:1@${sha}`, `docker.io/library/nginx:1@${sha}`],
    [`app@sha512:${'0'.repeat(128)}`, `docker.io/library/app@sha512:${'0'.repeat(128)}`],
    [`app:${'t'.repeat(128)}`, `docker.io/library/app:${'t'.repeat(128)}`],
  ])('%s is %s', (text, canonical) => {
    expect(formatReference(parseReference(text))).toBe(canonical);
    expect(formatReference(parseReference(canonical))).toBe(canonical);
  });

  test.each([
    ['', 'empty'],
    ['Nginx', 'write "nginx"'],
    ['ghcr.io/Org/app', 'write "org/app"'],
    ['https://ghcr.io/app', 'leave "https://" out'],
    ['nginx:', 'tag after ":" is missing'],
    ['nginx:-x', 'is not a tag'],
    [`nginx:${'t'.repeat(129)}`, 'is not a tag'],
    ['ng inx', 'white space'],
    ['a//b', '"/" too many'],
    ['a/b/', '"/" too many'],
    ['ghcr.io/', 'name of the image is missing'],
    ['a___b', 'not a part of an image name'],
    ['-a', 'not a part of an image name'],
    ['nginx@sha256:abc', 'is not a digest'],
    [`nginx@sha256:${'A'.repeat(64)}`, 'is not a digest'],
    [`nginx@md5:${'a'.repeat(32)}`, 'is not a digest'],
    ['a'.repeat(64), 'image id'],
    ['-bad.example/app', 'is not a registry'],
    ['host:99999/app', 'is not a port'],
    ['host:0/app', 'is not a port'],
    ['host:x/app', 'is not a registry'],
    [`a/${'b'.repeat(260)}`, 'longer than 255'],
    ['x'.repeat(2000), 'longer than 1024'],
  ])('%s is refused: %s', (text, why) => {
    const parse = (): unknown => parseReference(text);
    expect(parse).toThrow(FrotaError);
    expect(parse).toThrow(why);
  });

  test('what is accepted is canonical after one round, and whatever is refused is refused as invalid', () => {
    const piece = fc.stringMatching(/^[a-zA-Z0-9._:@/[\]-]{0,30}$/);
    fc.assert(
      fc.property(fc.oneof(piece, fc.string()), (text) => {
        let canonical: string;
        try {
          canonical = formatReference(parseReference(text));
        } catch (error) {
          return error instanceof FrotaError && error.code === 'invalid';
        }
        return formatReference(parseReference(canonical)) === canonical;
      }),
    );
  });
});
