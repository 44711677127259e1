/** As much of Docker's Engine API as the peer needs, over the Unix socket of one daemon. */
import { request } from 'node:http';

/** docker.io 20.10 of Debian 12. */
const version = '/v1.41';
const requestTimeoutMs = 60_000;

export class DockerApi {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  get = <T>(path: string): Promise<T> => this.#send<T>('GET', path);
  post = <T>(path: string, body?: unknown): Promise<T> => this.#send<T>('POST', path, body);
  delete = (path: string): Promise<unknown> => this.#send('DELETE', path);

  #send<T>(method: string, path: string, body?: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const what = `${method} ${path}`;
      const sending = request({
        socketPath: this.#socketPath,
        path: `${version}${path}`,
        method,
        timeout: requestTimeoutMs,
        agent: false,
        headers: { 'content-type': 'application/json' },
      });
      sending.on('timeout', () => sending.destroy(new Error(`${what}: no answer`)));
      sending.on('error', reject);
      sending.on('response', (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => (text += part));
        answer.on('error', reject);
        answer.on('end', () => {
          const status = answer.statusCode ?? 0;
          if (status >= 300) reject(new Error(`${what}: ${String(status)} ${text.trim()}`));
          // Some answers are a stream of several objects (a pull's progress): who asks for those reads the text.
          else resolve((isOneObject(answer.headers['content-type'], text) ? JSON.parse(text) : text) as T);
        });
      });
      sending.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

function isOneObject(contentType: string | undefined, text: string): boolean {
  return contentType?.startsWith('application/json') === true && !/\}\s*\n\s*\{/u.test(text) && text.trim() !== '';
}

/** `?filters=` as the API wants it. */
export const filters = (wanted: Readonly<Record<string, readonly string[]>>): string =>
  `filters=${encodeURIComponent(JSON.stringify(wanted))}`;
