/** A client of image registries (OCI distribution-spec, "Pull"): manifests and blobs, nothing else. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FrotaError } from '../base/errors.ts';
import { Authorization, parseChallenges, sameCredentials } from './authorization.ts';
import type { CredentialProvider, Credentials } from './authorization.ts';
import { readBlobFrom } from './blob-download.ts';
import { algorithmOf, digestOf, isDigest } from './digest.ts';
import { insecureRegistries } from './insecure-registries.ts';
import { maxManifestBytes } from './manifest.ts';
import type { Descriptor } from './manifest.ts';
import { acceptedManifestTypes } from './media-types.ts';
import { formatReference, repositoryName, versionOf } from './reference.ts';
import type { ImageReference } from './reference.ts';
import { defaultRetryPolicy, retryAfterMs, withRetries } from './retry.ts';
import type { Outcome, RetryPolicy } from './retry.ts';
import { registryError, subjectName } from './registry-error.ts';
import type { RequestSubject } from './registry-error.ts';
import { Transport, drain, headerOf, isAborted } from './transport.ts';
import type { HttpResponse } from './transport.ts';
import { transportFailure } from './transport-failure.ts';

export interface RegistryClientOptions {
  /** `host`, `host:port` or CIDR; loopback is always included. See `insecureRegistries`. */
  readonly insecureRegistries?: readonly string[];
  /** Default: anonymous pulls. */
  readonly credentials?: CredentialProvider;
  readonly retry?: RetryPolicy;
}

export interface RegistryManifest {
  readonly bytes: Buffer;
  /** As the registry says; empty when it says nothing. */
  readonly mediaType: string;
  /** Of `bytes`, computed here. */
  readonly digest: string;
}

/**
 * All methods throw FrotaError: `not-found`, `unauthenticated`, `unavailable` (not reachable or failing, after
 * retries), `corrupt` (bytes do not match their digest or size), `exhausted` (larger than allowed), `cancelled`.
 */
export interface RegistryClient {
  /** The manifest or index, verified against the reference's digest if it has one; at most `maxManifestBytes`. */
  getManifest(reference: ImageReference, options: { signal: AbortSignal }): Promise<RegistryManifest>;
  /** The digest of the manifest or index without its bytes; undefined when the registry does not say. */
  headManifest(reference: ImageReference, options: { signal: AbortSignal }): Promise<string | undefined>;
  /**
   * The bytes of a blob from `offset` on, in order; resumed where they broke off. The length is checked (`corrupt`),
   * the digest is the reader's to check.
   */
  readBlob(
    reference: ImageReference,
    blob: Descriptor,
    options: { signal: AbortSignal; offset?: number },
  ): AsyncGenerator<Buffer, void, undefined>;
  /** Breaks off what is under way. */
  close(): Promise<void>;
}

const rateLimitStatus = 429;
const timeoutStatus = 408;

export function createRegistryClient(options: RegistryClientOptions = {}): RegistryClient {
  const transport = new Transport(insecureRegistries(options.insecureRegistries ?? []));
  const authorization = new Authorization(transport, options.credentials ?? (() => Promise.resolve(undefined)));
  return new HttpRegistryClient(transport, authorization, options.retry ?? defaultRetryPolicy);
}

class HttpRegistryClient implements RegistryClient {
  private readonly transport: Transport;
  private readonly authorization: Authorization;
  private readonly policy: RetryPolicy;

  constructor(transport: Transport, authorization: Authorization, policy: RetryPolicy) {
    this.transport = transport;
    this.authorization = authorization;
    this.policy = policy;
  }

  async getManifest(reference: ImageReference, { signal }: { signal: AbortSignal }): Promise<RegistryManifest> {
    const subject: RequestSubject = { reference, what: 'manifest' };
    return withRetries(this.policy, signal, (limited) =>
      this.attempt(subject, signal, async () => {
        const path = manifestPath(reference);
        const response = await this.ask(subject, 'GET', path, limited, manifestHeaders);
        if (response.kind === 'again') return response;
        return { kind: 'done', value: await readManifest(reference, response.value) };
      }),
    );
  }

  async headManifest(reference: ImageReference, { signal }: { signal: AbortSignal }): Promise<string | undefined> {
    const subject: RequestSubject = { reference, what: 'manifest' };
    return withRetries(this.policy, signal, (limited) =>
      this.attempt(subject, signal, async () => {
        const path = manifestPath(reference);
        const response = await this.ask(subject, 'HEAD', path, limited, manifestHeaders);
        if (response.kind === 'again') return response;
        await drain(response.value.body);
        const digest = headerOf(response.value, 'docker-content-digest');
        return { kind: 'done', value: digest !== undefined && isDigest(digest) ? digest : undefined };
      }),
    );
  }

  readBlob(
    reference: ImageReference,
    blob: Descriptor,
    options: { signal: AbortSignal; offset?: number },
  ): AsyncGenerator<Buffer, void, undefined> {
    const path = `/v2/${reference.repository}/blobs/${blob.digest}`;
    const subject: RequestSubject = { reference, what: 'blob', digest: blob.digest };
    return readBlobFrom({
      blob,
      where: `blob ${blob.digest} of ${repositoryName(reference)}`,
      offset: options.offset ?? 0,
      signal: options.signal,
      policy: this.policy,
      open: (offset) =>
        this.attempt(subject, options.signal, () =>
          this.ask(subject, 'GET', path, options.signal, {
            ...(offset === 0 ? {} : { range: `bytes=${String(offset)}-` }),
            // The bytes as they are stored: their digest is of these.
            'accept-encoding': 'identity',
          }),
        ),
      broken: (error) => brokenOff(subject, error),
    });
  }

  async close(): Promise<void> {
    await this.transport.close();
  }

  /** One request, authorized if the registry wants that; any answer but success becomes an error or `again`. */
  private async ask(
    subject: RequestSubject,
    method: 'GET' | 'HEAD',
    path: string,
    signal: AbortSignal,
    headers: Readonly<Record<string, string>>,
  ): Promise<Outcome<HttpResponse>> {
    const { registry, repository } = subject.reference;
    const send = (authorization: string | undefined): Promise<HttpResponse> =>
      this.transport
        .askRegistry(registry, path, {
          method,
          signal,
          headers: authorization === undefined ? headers : { ...headers, authorization },
        })
        .catch((error: unknown) => {
          throw error instanceof FrotaError ? notHad(subject, error) : error;
        });
    const known = await this.authorization.known(registry, repository, signal);
    let response = await send(known);
    if (response.status === 403 && known !== undefined) {
      // It refuses who we were: asked as nobody it says anew what it wants, and who we are now is looked up.
      await drain(response.body);
      this.authorization.forget(registry, repository);
      response = await send(undefined);
    }
    if (response.status === 401) response = await this.introduce(response, subject.reference, signal, send);
    if (response.status === 200 || response.status === 206) return { kind: 'done', value: response };
    const error = await registryError(subject, response);
    const again = response.status >= 500 || response.status === rateLimitStatus || response.status === timeoutStatus;
    if (!again) throw error;
    const waitMs = retryAfterMs(headerOf(response, 'retry-after'), Date.now());
    return { kind: 'again', error, ...(waitMs === undefined ? {} : { retryAfterMs: waitMs }) };
  }

  /** Answers a 401; what the registry refuses of us is looked up anew, once, for a password may have been changed. */
  private async introduce(
    response: HttpResponse,
    { registry, repository }: ImageReference,
    signal: AbortSignal,
    send: (authorization: string) => Promise<HttpResponse>,
  ): Promise<HttpResponse> {
    await drain(response.body);
    const challenges = parseChallenges(headerOf(response, 'www-authenticate') ?? '');
    const as = async (credentials: Credentials | undefined): Promise<HttpResponse> => {
      this.authorization.forget(registry, repository);
      const header = await this.authorization.answer(challenges, { registry, repository, credentials, signal });
      return header === undefined ? response : await send(header);
    };
    const known = await this.authorization.who(registry, signal);
    const first = await as(known).catch((error: unknown) => {
      if (error instanceof FrotaError && error.code === 'unauthenticated') return error;
      throw error;
    });
    if (!(first instanceof FrotaError) && first.status !== 401 && first.status !== 403) return first;
    const fresh = await this.authorization.who(registry, signal, true);
    if (!sameCredentials(known, fresh)) {
      if (!(first instanceof FrotaError) && first !== response) await drain(first.body);
      return await as(fresh);
    }
    if (first instanceof FrotaError) throw first;
    return first;
  }

  /** Runs `act`; what fails below HTTP becomes `again` or an error that names the registry. */
  private async attempt<T>(
    subject: RequestSubject,
    signal: AbortSignal,
    act: () => Promise<Outcome<T>>,
  ): Promise<Outcome<T>> {
    if (signal.aborted) throw cancelled(subject.reference);
    try {
      return await act();
    } catch (error) {
      // Sockets report their end before the signal that ended them is seen.
      await nextTurn();
      if (isAborted(signal)) throw cancelled(subject.reference);
      if (error instanceof FrotaError) {
        if (error.code === 'unavailable') return { kind: 'again', error };
        throw error;
      }
      return brokenOff(subject, error);
    }
  }
}

const manifestHeaders = { accept: acceptedManifestTypes };
const manifestPath = (reference: ImageReference): string =>
  `/v2/${reference.repository}/manifests/${versionOf(reference)}`;

async function readManifest(reference: ImageReference, response: HttpResponse): Promise<RegistryManifest> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += (chunk as Buffer).length;
    if (size > maxManifestBytes) {
      throw new FrotaError(
        'exhausted',
        `the manifest of ${formatReference(reference)} is larger than ${String(maxManifestBytes)} bytes`,
      );
    }
    chunks.push(chunk as Buffer);
  }
  const bytes = Buffer.concat(chunks);
  const wanted = reference.digest;
  const digest = digestOf(bytes, wanted === undefined ? undefined : algorithmOf(wanted));
  if (wanted !== undefined && digest !== wanted) {
    throw new FrotaError(
      'corrupt',
      `registry ${reference.registry} served other bytes than ${formatReference(reference)}: their digest is ${digest}`,
    );
  }
  const mediaType = (headerOf(response, 'content-type') ?? '').split(';', 1)[0] ?? '';
  return { bytes, mediaType: mediaType.trim().toLowerCase(), digest };
}

/** The way to it was refused or led nowhere: whose way it was, the transport does not know. */
const notHad = (subject: RequestSubject, error: FrotaError): FrotaError =>
  new FrotaError(
    error.code,
    `registry ${subject.reference.registry} does not give ${subjectName(subject)}: ${error.message}`,
    { cause: error },
  );

function brokenOff(subject: RequestSubject, error: unknown): Outcome<never> {
  const { registry } = subject.reference;
  const { transient, reason, isTrust } = transportFailure(error);
  const hint = isTrust === true ? `; if that is meant, list ${registry} as an insecure registry` : '';
  const message = `registry ${registry} can't be reached for ${subjectName(subject)}: ${reason}${hint}`;
  const wrapped = new FrotaError('unavailable', message, { cause: error });
  if (!transient) throw wrapped;
  return { kind: 'again', error: wrapped };
}

const cancelled = (reference: ImageReference): FrotaError =>
  new FrotaError('cancelled', `the pull of ${formatReference(reference)} was cancelled`);
