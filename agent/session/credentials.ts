/** What makes this machine a node of its cluster: its id, key and certificate, the cluster's CA, the controllers. */
// x509 resolves its parts through decorators, whose metadata must be there first.
import 'reflect-metadata';
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { caDigestHexDigits, parseJoinToken } from '../../proto/domain/cluster.ts';
import type { Client } from '../../proto/rpc/client.ts';
import { connect, createClient, parseAddress } from '../../proto/rpc/client.ts';
import { joinService } from '../../proto/rpc/service.ts';
import type { dispatchService } from '../../proto/rpc/service.ts';
import { writeFileDurably } from '../host/durable-file.ts';
import { fetchChain } from './server-chain.ts';

/** All PEM. */
export interface Credentials {
  readonly nodeId: string;
  readonly key: string;
  readonly certificate: string;
  readonly ca: string;
  /** `host:port` of the controllers' control port. */
  readonly controlAddresses: readonly string[];
}

export interface JoinOptions {
  /** `host:port` of the join port, as `frota cluster token` prints it. */
  readonly address: string;
  readonly token: string;
  readonly nodeName: string;
  readonly dataDir: string;
  readonly nowMs: number;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/** Joining writes one transaction; a controller that needs longer than this is not well. */
const joinDeadlineMs = 15_000;
const renewDeadlineMs = 10_000;
const credentialsFile = 'credentials.json';

/**
 * Makes this machine a node, or gives what it has if it is one already: the token is then not looked at. The server is
 * trusted only as far as its CA has the digest that the token carries; before that is known nothing secret is sent.
 * @throws FrotaError `invalid` (token, address), `unauthenticated` (another cluster, refused token), `unavailable`.
 */
export async function joinCluster(options: JoinOptions): Promise<Credentials> {
  const { address, dataDir, nodeName, logger, signal } = options;
  const existing = await loadCredentials(dataDir);
  if (existing !== undefined && !isExpired(existing, options.nowMs)) return existing;
  if (existing !== undefined) logger.warn({ nodeId: existing.nodeId }, 'the certificate has expired; joining anew');
  const { caDigest } = parseJoinToken(options.token);
  parseAddress(address);
  const ca = await authorityOf(address, caDigest, signal);
  const { key, request } = await newRequest();
  const connection = connect({ addresses: [address], tls: { ca } });
  try {
    const client = createClient(joinService, connection);
    const reply = await client.join(
      { token: options.token.trim(), nodeName, certificateRequest: request },
      { deadlineMs: joinDeadlineMs, signal },
    );
    const credentials: Credentials = {
      nodeId: reply.nodeId,
      key,
      certificate: reply.certificate,
      ca,
      controlAddresses: [reply.controlAddress],
    };
    checkCertificate(credentials);
    await storeCredentials(dataDir, credentials);
    logger.info({ nodeId: reply.nodeId, nodeName }, 'joined the cluster');
    return credentials;
  } finally {
    connection.close();
  }
}

/** Undefined when this machine has not joined. @throws FrotaError `corrupt` when the file is not what was written. */
export async function loadCredentials(dataDir: string): Promise<Credentials | undefined> {
  const path = join(dataDir, credentialsFile);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new FrotaError('unavailable', `${path} cannot be read`, { cause: thrown });
  }
  try {
    const parsed = JSON.parse(text) as Credentials;
    checkCertificate(parsed);
    for (const address of parsed.controlAddresses) parseAddress(address);
    return parsed;
  } catch (cause) {
    throw new FrotaError('corrupt', `${path} is damaged: delete it and join again with a new token`, { cause });
  }
}

/** True from half of the certificate's life on, so that there is as much time again to reach a controller. */
export function renewalDue(credentials: Credentials, nowMs: number): boolean {
  const { notBeforeMs, notAfterMs } = validityOf(credentials);
  return nowMs >= notBeforeMs + (notAfterMs - notBeforeMs) / 2;
}

/** An expired certificate opens no connection: only a new token helps. */
export function isExpired(credentials: Credentials, nowMs: number): boolean {
  return nowMs >= validityOf(credentials).notAfterMs;
}

/**
 * A new key and certificate from the controller, stored before they are returned. The caller then opens its next
 * connection with them; the old ones stay valid until their end.
 */
export async function renewCredentials(
  client: Pick<Client<typeof dispatchService>, 'renewCertificate'>,
  current: Credentials,
  dataDir: string,
  signal: AbortSignal,
): Promise<Credentials> {
  const { key, request } = await newRequest();
  const reply = await client.renewCertificate({ certificateRequest: request }, { deadlineMs: renewDeadlineMs, signal });
  const renewed: Credentials = { ...current, key, certificate: reply.certificate };
  checkCertificate(renewed);
  await storeCredentials(dataDir, renewed);
  return renewed;
}

/** The CA among what the server sends, known by its digest alone; PEM. */
async function authorityOf(address: string, caDigest: string, signal: AbortSignal): Promise<string> {
  const chain = await fetchChain(address, signal);
  const found = chain.find((certificate) => certificate.ca && digestOf(certificate) === caDigest);
  if (found !== undefined) return found.toString();
  throw new FrotaError(
    'unauthenticated',
    `the controller at ${address} is not of the cluster that the token is for: nothing was sent to it; ` +
      'check the address, and use a token that this cluster printed',
  );
}

const digestOf = (certificate: X509Certificate): string =>
  createHash('sha256').update(certificate.raw).digest('hex').slice(0, caDigestHexDigits);

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const;

/** A new key (PKCS #8, PEM) and a request for a certificate of it (PKCS #10, DER); the controller decides the subject. */
async function newRequest(): Promise<{ key: string; request: Uint8Array }> {
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    { name: [{ CN: ['frota node'] }], keys, signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' } },
    crypto,
  );
  const key = x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
  return { key, request: new Uint8Array(request.rawData) };
}

/** The certificate must be of this key, this node and this cluster. @throws FrotaError `corrupt`. */
function checkCertificate({ nodeId, key, certificate, ca }: Credentials): void {
  const parsed = new X509Certificate(certificate);
  const authority = new X509Certificate(ca);
  const ours = parsed.checkPrivateKey(createPrivateKey(key));
  if (
    ours &&
    nodeId !== '' &&
    parsed.subject.split('\n').includes(`CN=${nodeId}`) &&
    parsed.verify(authority.publicKey)
  ) {
    return;
  }
  throw new FrotaError('corrupt', 'the certificate is not of this node, its key and its cluster');
}

function validityOf({ certificate }: Credentials): { notBeforeMs: number; notAfterMs: number } {
  const { validFrom, validTo } = new X509Certificate(certificate);
  return { notBeforeMs: Date.parse(validFrom), notAfterMs: Date.parse(validTo) };
}

/** Whole or not at all, and durable before it is used: the controller has used up the token for it. */
async function storeCredentials(dataDir: string, credentials: Credentials): Promise<void> {
  await writeFileDurably(join(dataDir, credentialsFile), `${JSON.stringify(credentials, undefined, 2)}\n`);
}
