/** A door in front of a registry that asks who comes in: Basic, or a token service (distribution `spec/auth/token.md`). */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';

export interface PrivateRegistryOptions {
  /** `basic`: the registry asks itself; `bearer`: it sends to a token service of its own, on another port. */
  readonly kind: 'basic' | 'bearer';
  /** `host:port` of the open registry behind it. */
  readonly upstream: string;
  /** IP address to listen on; default 127.0.0.1. */
  readonly address?: string;
  readonly username: string;
  readonly password: string;
}

export interface PrivateRegistry {
  /** `host:port`, as image references begin. */
  readonly host: string;
  /** Who may come in from now on; tokens that were given out end. */
  setPassword(password: string): void;
  /** `METHOD PATH STATUS USER` for each request; the user is what the credentials or the token say, or `-`. */
  readonly log: readonly string[];
  stop(): Promise<void>;
}

export async function startPrivateRegistry(options: PrivateRegistryOptions): Promise<PrivateRegistry> {
  const { kind, upstream, username, address = '127.0.0.1' } = options;
  let { password } = options;
  const log: string[] = [];
  const tokens = new Map<string, string>();
  const isKnown = (header: string | undefined): boolean =>
    header === `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;

  const tokenServer = await listen(address, (incoming, answer) => {
    const known = isKnown(incoming.headers.authorization);
    log.push(`${incoming.method ?? ''} ${incoming.url ?? ''} ${known ? '200' : '401'} ${known ? username : '-'}`);
    if (!known) return void answer.writeHead(401).end();
    const token = randomBytes(16).toString('hex');
    tokens.set(token, username);
    answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ token, expires_in: 300 }));
  });
  const challenge =
    kind === 'basic' ? 'Basic realm="private"' : `Bearer realm="http://${hostOf(tokenServer)}/token",service="private"`;

  const door = await listen(address, (incoming, answer) => {
    const header = incoming.headers.authorization;
    const user = kind === 'basic' ? (isKnown(header) ? username : undefined) : tokens.get(/^Bearer (.*)$/.exec(header ?? '')?.[1] ?? ''); // prettier-ignore
    const note = (status: number): void => void log.push(`${incoming.method ?? ''} ${incoming.url ?? ''} ${String(status)} ${user ?? '-'}`); // prettier-ignore
    if (user === undefined) {
      note(401);
      return void answer.writeHead(401, { 'www-authenticate': challenge }).end();
    }
    const { authorization: _mine, ...headers } = incoming.headers;
    const onward = request(
      `http://${upstream}${incoming.url ?? ''}`,
      { method: incoming.method ?? 'GET', headers },
      (reply) => {
        // prettier-ignore
        note(reply.statusCode ?? 0);
        answer.writeHead(reply.statusCode ?? 502, reply.headers);
        reply.pipe(answer);
      },
    );
    onward.on('error', () => void answer.writeHead(502).end());
    incoming.pipe(onward);
  });
  return {
    host: hostOf(door),
    setPassword: (next) => {
      password = next;
      tokens.clear();
    },
    log,
    stop: async () => {
      for (const server of [door, tokenServer]) {
        server.closeAllConnections();
        server.close();
        await once(server, 'close');
      }
    },
  };
}

async function listen(
  address: string,
  serve: (incoming: IncomingMessage, answer: ServerResponse) => void,
): Promise<Server> {
  const server = createServer(serve);
  server.listen(0, address);
  await once(server, 'listening');
  return server;
}

function hostOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('it listens nowhere');
  return `${address.address}:${String(address.port)}`;
}
