/**
 * Image references: what people write, made canonical. Grammar and defaults after distribution/reference
 * (`reference.go`, `normalize.go`): `docker.io` and `library/` are implied, and the tag `latest` if nothing is said.
 */
import { FrotaError } from '../base/errors.ts';
import { isDigest } from './digest.ts';

export interface ImageReference {
  /** `host` or `host:port`; `docker.io` for Docker Hub. */
  readonly registry: string;
  /** Path in the registry, e.g. `library/nginx`. */
  readonly repository: string;
  /** Absent only when the reference has a digest instead. */
  readonly tag?: string;
  readonly digest?: string;
}

const defaultRegistry = 'docker.io';
/** What Docker Hub was called before. */
const legacyRegistry = 'index.docker.io';
const officialNamespace = 'library/';
const defaultTag = 'latest';
/** `RepositoryNameTotalLengthMax` of distribution/reference. */
const maxRepositoryLength = 255;
/** Longest DNS name (RFC 1035) and a port. */
const maxRegistryLength = 253 + ':65535'.length;
const maxPort = 65_535;
/** What a reference may be at most: anything longer is not worth a closer look. */
const maxReferenceLength = 1024;

const hostPattern =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::([0-9]{1,5}))?$/;
const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^\w[\w.-]{0,127}$/;
/** distribution/reference refuses these: they look like image ids. */
const identifierPattern = /^[a-f0-9]{64}$/;

/**
 * Parses a reference as people write it, e.g. `nginx`, `nginx:1.27`, `localhost:5000/app@sha256:…`.
 * @throws FrotaError `invalid`; the message quotes the reference and says what to change.
 */
export function parseReference(text: string): ImageReference {
  if (text === '') throw invalid(text, 'it is empty; write an image such as nginx:1.27');
  if (text.length > maxReferenceLength) {
    throw invalid(`${text.slice(0, 60)}…`, `it is longer than ${String(maxReferenceLength)} characters`);
  }
  if (/\s/.test(text)) throw invalid(text, 'it contains white space');
  if (text.includes('://')) {
    throw invalid(text, `a reference has no scheme; leave "${text.slice(0, text.indexOf('://') + 3)}" out`);
  }
  if (identifierPattern.test(text)) throw invalid(text, 'it is an image id; write a name, or name@sha256:…');
  const { name, digest } = splitDigest(text);
  const { registry, rest } = splitRegistry(name);
  const { path, tag } = splitTag(text, rest);
  const repository = registry === defaultRegistry && !path.includes('/') ? `${officialNamespace}${path}` : path;
  checkRegistry(text, registry);
  checkRepository(text, path, repository);
  if (digest !== undefined && !isDigest(digest)) {
    throw invalid(text, `"${digest}" is not a digest; a digest is sha256: and 64 hexadecimal digits in lower case`);
  }
  if (digest !== undefined) return { registry, repository, ...(tag === undefined ? {} : { tag }), digest };
  return { registry, repository, tag: tag ?? defaultTag };
}

/** `registry/repository[:tag][@digest]`, with nothing implied. */
export function formatReference(reference: ImageReference): string {
  const { tag, digest } = reference;
  return `${repositoryName(reference)}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** `registry/repository`. */
export const repositoryName = (reference: ImageReference): string => `${reference.registry}/${reference.repository}`;

/** What the registry's API calls this version of the image: its digest, or else its tag. */
export const versionOf = (reference: ImageReference): string => reference.digest ?? reference.tag ?? defaultTag;

function splitDigest(text: string): { name: string; digest?: string } {
  const at = text.indexOf('@');
  return at === -1 ? { name: text } : { name: text.slice(0, at), digest: text.slice(at + 1) };
}

/**
 * A registry as people write it, canonical as references have it: Docker Hub by any of its names, a URL without its scheme
 * and path. @throws FrotaError `invalid`.
 */
export function parseRegistry(text: string): string {
  const host = text.trim().replace(/^https?:\/\//, '').replace(/\/(v[12]\/?)?$/, ''); // prettier-ignore
  if (host === legacyRegistry || host === 'registry-1.docker.io' || host === 'hub.docker.com') return defaultRegistry;
  const match = hostPattern.exec(host);
  const port = match?.[1];
  const fits =
    host.length <= maxRegistryLength && (port === undefined || (Number(port) >= 1 && Number(port) <= maxPort));
  if (match !== null && fits) return host;
  throw new FrotaError('invalid', `"${text}" is no registry; write host or host:port, such as registry.example:5000`);
}

/** The first part is a registry if it could not be part of a path: it has a dot, a port or capitals, or is `localhost`. */
function splitRegistry(name: string): { registry: string; rest: string } {
  const slash = name.indexOf('/');
  const first = slash === -1 ? '' : name.slice(0, slash);
  const isRegistry = /[.:[]/.test(first) || first === 'localhost' || first.toLowerCase() !== first;
  if (slash === -1 || !isRegistry) return { registry: defaultRegistry, rest: name };
  return { registry: first === legacyRegistry ? defaultRegistry : first, rest: name.slice(slash + 1) };
}

function splitTag(text: string, rest: string): { path: string; tag?: string } {
  const colon = rest.lastIndexOf(':');
  if (colon <= rest.lastIndexOf('/')) return { path: rest };
  const tag = rest.slice(colon + 1);
  if (tagPattern.test(tag)) return { path: rest.slice(0, colon), tag };
  if (tag === '') throw invalid(text, 'the tag after ":" is missing');
  throw invalid(
    text,
    `"${tag}" is not a tag; a tag has at most 128 letters, digits, "_", "." and "-" and begins with none of the last two`,
  );
}

function checkRegistry(text: string, registry: string): void {
  const match = hostPattern.exec(registry);
  if (match === null || registry.length > maxRegistryLength) {
    throw invalid(text, `"${registry}" is not a registry; write host or host:port`);
  }
  const port = match[1];
  if (port !== undefined && (Number(port) < 1 || Number(port) > maxPort)) {
    throw invalid(text, `${port} is not a port; ports go from 1 to ${String(maxPort)}`);
  }
}

function checkRepository(text: string, path: string, repository: string): void {
  if (path === '') throw invalid(text, 'the name of the image is missing');
  if (path.toLowerCase() !== path) throw invalid(text, `image names are in lower case; write "${path.toLowerCase()}"`);
  for (const component of path.split('/')) {
    if (component === '') throw invalid(text, 'there is a "/" too many');
    if (!componentPattern.test(component)) {
      throw invalid(
        text,
        `"${component}" is not a part of an image name; it has letters, digits, and ".", "_", "__" or "-" between them`,
      );
    }
  }
  if (repository.length > maxRepositoryLength) {
    throw invalid(text, `the name is longer than ${String(maxRepositoryLength)} characters`);
  }
}

const invalid = (text: string, why: string): FrotaError =>
  new FrotaError('invalid', `"${text}" is not an image reference: ${why}`);
