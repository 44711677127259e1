/** HTTP to registries: which scheme, which redirects, which time limits. Knows nothing of what is asked. */
import { Agent, ProxyAgent, request } from 'undici';
import type { Dispatcher } from 'undici';
import { FrotaError } from '../base/errors.ts';
import type { InsecureRegistries } from './insecure-registries.ts';
import { proxiesOf } from './proxies.ts';
import type { Environment, ProxyFor } from './proxies.ts';
import { connectTimeoutMs, headersTimeoutMs, stalledBodyMs, transportFailure } from './transport-failure.ts';

export type Scheme = 'https' | 'http';

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD';
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: Dispatcher.ResponseData['headers'];
  readonly body: Dispatcher.ResponseData['body'];
}

/** Registries redirect blobs to their storage once, sometimes through a mirror. */
const maxRedirects = 5;
const redirectStatuses: readonly number[] = [301, 302, 303, 307, 308];
/** Of bodies nobody wants; a longer one costs its connection instead. */
const maxDrainedBytes = 64 * 1024;
/** Docker Hub's registry has another name than its images. */
const dockerHub = { registry: 'docker.io', host: 'registry-1.docker.io' } as const;

const limits = { headersTimeout: headersTimeoutMs, bodyTimeout: stalledBodyMs };

export class Transport {
  private readonly insecure: InsecureRegistries;
  private readonly trusting: Agent;
  private readonly verifying: Agent;
  private readonly proxyFor: ProxyFor;
  /** By proxy, and whether certificates behind it are verified. */
  private readonly proxied = new Map<string, ProxyAgent>();
  /** Of insecure registries: what they answered to. */
  private readonly schemes = new Map<string, Scheme>();

  /** Proxies are the environment's, see `proxiesOf`. */
  constructor(insecure: InsecureRegistries, environment: Environment = process.env) {
    this.insecure = insecure;
    this.proxyFor = proxiesOf(environment);
    this.verifying = new Agent({ ...limits, connect: { timeout: connectTimeoutMs } });
    this.trusting = new Agent({ ...limits, connect: { timeout: connectTimeoutMs, rejectUnauthorized: false } });
  }

  /**
   * Asks the registry for `path`. HTTPS only, unless the registry is insecure: then its certificate is not verified,
   * and plain HTTP is used when HTTPS fails; the answer is remembered until it fails itself.
   * Throws what undici throws when there is no answer; see `transportFailure`.
   */
  async askRegistry(registry: string, path: string, options: HttpRequest): Promise<HttpResponse> {
    const authority = registry === dockerHub.registry ? dockerHub.host : registry;
    const remembered = this.schemes.get(registry);
    if (!this.insecure.has(authority)) return this.ask(new URL(`https://${authority}${path}`), options);
    if (remembered !== undefined) {
      try {
        return await this.ask(new URL(`${remembered}://${authority}${path}`), options);
      } catch (error) {
        this.schemes.delete(registry);
        throw error;
      }
    }
    const response = await this.askEitherWay(`${authority}${path}`, options);
    this.schemes.set(registry, response.scheme);
    return response;
  }

  /** Asks `url`, following redirects. Authorization goes to the first origin only. */
  async ask(url: URL, options: HttpRequest): Promise<HttpResponse> {
    let current = url;
    let headers = options.headers;
    for (let hops = 0; ; hops += 1) {
      this.checkScheme(current);
      const dispatcher = this.dispatcherFor(current);
      const {
        statusCode,
        headers: answered,
        body,
      } = await request(current, {
        dispatcher,
        method: options.method,
        headers: { 'user-agent': 'frota', ...headers },
        signal: options.signal,
      });
      const location = answered.location;
      if (!redirectStatuses.includes(statusCode) || typeof location !== 'string') {
        return { status: statusCode, headers: answered, body };
      }
      await drain(body);
      if (hops === maxRedirects) throw new FrotaError('unavailable', `${url.host} redirects in circles`);
      const next = nextLocation(location, current);
      if (next.origin !== current.origin) headers = withoutAuthorization(headers);
      current = next;
    }
  }

  async close(): Promise<void> {
    const all = [this.verifying, this.trusting, ...this.proxied.values()];
    await Promise.all(all.map((each) => each.destroy()));
  }

  private dispatcherFor(url: URL): Dispatcher {
    const trusts = this.insecure.has(url.host);
    const proxy = this.proxyFor(url);
    if (proxy === undefined) return trusts ? this.trusting : this.verifying;
    const key = `${proxy.href} ${String(trusts)}`;
    const known = this.proxied.get(key);
    if (known !== undefined) return known;
    const made = new ProxyAgent({
      ...limits,
      uri: proxy.href,
      proxyTls: { timeout: connectTimeoutMs },
      requestTls: { timeout: connectTimeoutMs, rejectUnauthorized: !trusts },
    });
    this.proxied.set(key, made);
    return made;
  }

  private async askEitherWay(rest: string, options: HttpRequest): Promise<HttpResponse & { scheme: Scheme }> {
    try {
      return { ...(await this.ask(new URL(`https://${rest}`), options)), scheme: 'https' };
    } catch (httpsError) {
      if (options.signal.aborted || httpsError instanceof FrotaError) throw httpsError;
      try {
        return { ...(await this.ask(new URL(`http://${rest}`), options)), scheme: 'http' };
      } catch (httpError) {
        // Without TLS the first failure only says "no TLS"; the second one is the reason.
        throw isAborted(options.signal) || !transportFailure(httpsError).transient ? httpError : httpsError;
      }
    }
  }

  private checkScheme(url: URL): void {
    if (url.protocol === 'https:') return;
    if (url.protocol === 'http:' && this.insecure.has(url.host)) return;
    throw new FrotaError(
      'unsupported',
      `refused to go to ${url.origin}: it is not HTTPS; if that is meant, list ${url.host} as an insecure registry`,
    );
  }
}

/** Reads a body nobody wants, so that its connection can be used again; gives up on long ones. */
export async function drain(body: HttpResponse['body']): Promise<void> {
  await body.dump({ limit: maxDrainedBytes }).catch(() => undefined);
}

/** Asked anew after each wait: a signal that was not aborted before may be now, which the compiler can't know. */
export const isAborted = (signal: AbortSignal): boolean => signal.aborted;

/** One value of a header; undefined when it is absent. */
export function headerOf(response: HttpResponse, name: string): string | undefined {
  const value = response.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

function nextLocation(location: string, base: URL): URL {
  try {
    return new URL(location, base);
  } catch (error) {
    throw new FrotaError('unavailable', `${base.host} redirects to "${location}", which is no URL`, { cause: error });
  }
}

function withoutAuthorization(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization'));
}
