/** Who we are, to a registry: challenges, tokens and their life (distribution `spec/auth/token.md`, RFC 7617). */
import { FrotaError } from '../base/errors.ts';
import { loginHint } from './registry-error.ts';
import { drain } from './transport.ts';
import type { HttpResponse, Transport } from './transport.ts';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/**
 * Asked once per token; undefined: pull anonymously. `refused`: the registry has just refused what was answered before, so
 * it must look anew.
 */
export type CredentialProvider = (
  registry: string,
  options: { readonly signal: AbortSignal; readonly refused: boolean },
) => Promise<Credentials | undefined>;

export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
}

/** token.md: "clients … must … default to 60 seconds". */
const defaultTokenLifeS = 60;
/** A token is not used in its last seconds, so that it does not end on the way. */
const tokenLeewayMs = 5_000;
/** Tokens are a few KiB. */
const maxTokenAnswerBytes = 256 * 1024;
/** Registries times repositories a process pulls from, far above; the oldest goes first. */
const maxKeptTokens = 1_000;

/** Whom a header is for, and as whom. */
export interface Addressee {
  readonly registry: string;
  /** Empty: the registry itself. */
  readonly repository: string;
  readonly credentials: Credentials | undefined;
  readonly signal: AbortSignal;
}

interface Header {
  readonly header: string;
  readonly expiresAtMs: number;
}

interface KeptHeader extends Header {
  readonly credentials: Credentials | undefined;
}

export class Authorization {
  private readonly transport: Transport;
  private readonly credentials: CredentialProvider;
  private readonly kept = new Map<string, KeptHeader>();

  constructor(transport: Transport, credentials: CredentialProvider) {
    this.transport = transport;
    this.credentials = credentials;
  }

  /** The header for pulls of the repository, if one is known, still good, and of who we still are. */
  async known(registry: string, repository: string, signal: AbortSignal): Promise<string | undefined> {
    const kept = this.kept.get(`${registry}/${repository}`);
    if (kept === undefined || kept.expiresAtMs <= performance.now()) return undefined;
    if (sameCredentials(kept.credentials, await this.who(registry, signal))) return kept.header;
    this.forget(registry, repository);
    return undefined;
  }

  forget(registry: string, repository: string): void {
    this.kept.delete(`${registry}/${repository}`);
  }

  /** Who we are to this registry. */
  who(registry: string, signal: AbortSignal, refused = false): Promise<Credentials | undefined> {
    return this.credentials(registry, { signal, refused });
  }

  /**
   * Answers the challenge of a 401 response; undefined when it can't be answered (no credentials for Basic, or an
   * unknown scheme).
   * @throws FrotaError `unauthenticated` when the token server refuses, and what undici throws when it does not answer.
   */
  async answer(challenges: readonly Challenge[], to: Addressee): Promise<string | undefined> {
    const { registry, repository, credentials } = to;
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    const basic = challenges.find(({ scheme }) => scheme === 'basic');
    if (bearer === undefined && basic === undefined) return undefined;
    const made =
      bearer !== undefined
        ? await this.fetchToken(bearer, to)
        : credentials && { header: basicHeader(credentials), expiresAtMs: Infinity };
    if (made === undefined) return undefined;
    if (this.kept.size >= maxKeptTokens) this.kept.delete(this.kept.keys().next().value ?? '');
    this.kept.set(`${registry}/${repository}`, { ...made, credentials });
    return made.header;
  }

  private async fetchToken(challenge: Challenge, to: Addressee): Promise<Header> {
    const { realm, service, scope } = challenge.parameters;
    if (realm === undefined || !URL.canParse(realm)) {
      throw new FrotaError('unauthenticated', `registry ${to.registry} wants a token, but does not say from where`);
    }
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set('service', service);
    // Without a repository nothing is asked for but whether we are known.
    const wanted = scope ?? (to.repository === '' ? undefined : `repository:${to.repository}:pull`);
    if (wanted !== undefined) url.searchParams.set('scope', wanted);
    const headers = to.credentials === undefined ? {} : { authorization: basicHeader(to.credentials) };
    const askedAtMs = performance.now();
    const response = await this.transport.ask(url, { method: 'GET', headers, signal: to.signal });
    if (response.status !== 200) {
      await drain(response.body);
      throw tokenRefused(response.status, url, to.registry, to.credentials);
    }
    const answer = await readToken(response, url);
    const lifeMs = (answer.expires_in ?? defaultTokenLifeS) * 1000;
    return { header: `Bearer ${answer.token}`, expiresAtMs: askedAtMs + Math.max(0, lifeMs - tokenLeewayMs) };
  }
}

/** 4xx is a decision, anything else may pass. */
function tokenRefused(status: number, url: URL, registry: string, credentials: Credentials | undefined): FrotaError {
  const who = credentials === undefined ? 'an anonymous pull' : `user "${credentials.username}"`;
  const code = status >= 400 && status < 500 && status !== 429 ? 'unauthenticated' : 'unavailable';
  const hint = code === 'unauthenticated' ? `; ${loginHint(registry)}` : '';
  return new FrotaError(
    code,
    `the token server ${url.host} of registry ${registry} gives no token to ${who} (HTTP status ${String(status)})${hint}`,
  );
}

async function readToken(response: HttpResponse, url: URL): Promise<{ token: string; expires_in?: number }> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += (chunk as Buffer).length;
    if (size > maxTokenAnswerBytes)
      throw new FrotaError('corrupt', `the answer of token server ${url.host} is too long`);
    chunks.push(chunk as Buffer);
  }
  let json: unknown;
  try {
    json = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (error) {
    throw new FrotaError('corrupt', `the answer of token server ${url.host} is not JSON`, { cause: error });
  }
  const { token, access_token: accessToken, expires_in: life } = (json ?? {}) as Record<string, unknown>;
  const value = typeof token === 'string' ? token : accessToken;
  // The token becomes a header: nothing that could end one.
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw new FrotaError('corrupt', `the answer of token server ${url.host} has no token`);
  }
  return { token: value, ...(typeof life === 'number' && life > 0 ? { expires_in: life } : {}) };
}

export const sameCredentials = (a: Credentials | undefined, b: Credentials | undefined): boolean =>
  a?.username === b?.username && a?.password === b?.password;

const basicHeader = ({ username, password }: Credentials): string =>
  `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;

/** The challenges of a `WWW-Authenticate` header (RFC 9110 section 11.6.1), which may hold several. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  const token = /\s*,?\s*(?:([\w.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))|([\w-]+)(?=\s|,|$))/gy;
  for (let match = token.exec(header); match !== null; match = token.exec(header)) {
    const [, name, quoted, plain, scheme] = match;
    if (scheme !== undefined) challenges.push({ scheme: scheme.toLowerCase(), parameters: {} });
    else if (name !== undefined) {
      const last = challenges.at(-1);
      if (last !== undefined) last.parameters[name.toLowerCase()] = quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '';
    }
  }
  return challenges;
}
