/** The cluster's own certificate authority: ECDSA P-256, on disk at the controller, nowhere else. */
// x509 resolves its parts through decorators, whose metadata must be there first.
import 'reflect-metadata';
import { createHash, randomBytes } from 'node:crypto';
import type { webcrypto } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { FrotaError } from '../../proto/base/errors.ts';
import { caDigestHexDigits } from '../../proto/domain/cluster.ts';
import { controllerServerName } from '../../proto/rpc/limits.ts';
import { createSecretFile } from './durable-file.ts';
import { organizationOf } from './roles.ts';
import type { Role } from './roles.ts';

type CryptoKey = webcrypto.CryptoKey;

const dayMs = 24 * 60 * 60 * 1000;
const yearMs = 365 * dayMs;

/** The CA is never renewed by itself, so it must outlive the cluster. */
export const authorityLifetimeMs = 10 * yearMs;
/** Made anew at each start, kept in memory only; it must not end under a controller that runs for years. */
export const serverLifetimeMs = 10 * yearMs;
/**
 * Agents renew at half of it. As long as Swarm's: a cluster that was switched off for weeks comes back without new
 * tokens, since an expired certificate opens no connection to renew it by.
 */
export const nodeLifetimeMs = 90 * dayMs;
/** People's certificates lie in contexts on their machines and are not renewed by themselves. */
export const personLifetimeMs = yearMs;
/** Clocks of machines differ: a certificate is valid a little before it was made. */
export const clockSkewMs = 5 * 60 * 1000;
/** A P-256 request has about 250 bytes; what is much larger is none. */
const maxRequestBytes = 8 * 1024;

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' } as const;

/** A certificate (PEM) with its private key (PKCS #8, PEM). */
export interface Identity {
  readonly certificate: string;
  readonly key: string;
}

export interface Authority {
  /** PEM. */
  readonly certificate: string;
  /** What join tokens carry: the start of the SHA-256 of the certificate's DER bytes, hexadecimal. */
  readonly digest: string;
  /** A controller's own; the chain includes the CA, by which a joining machine knows the cluster. */
  issueServer(addresses: readonly string[], nowMs: number): Promise<Identity>;
  issuePerson(name: string, role: Exclude<Role, 'node'>, nowMs: number): Promise<Identity>;
  /**
   * Certificate (PEM) for a node's PKCS #10 request (DER). What subject the request asks for is ignored.
   * @throws FrotaError `invalid` when the request is none, is not signed by its own key, or that key is not P-256.
   */
  signNode(request: Uint8Array, nodeId: string, nowMs: number): Promise<string>;
}

export const authorityFile = 'authority.pem';

/**
 * Key and certificate lie in one file, so that no crash can leave one without the other. Two controllers that start at
 * once agree on the first one's. @throws FrotaError `corrupt` when the file is there and is not what was written.
 */
export async function loadOrCreateAuthority(folder: string, nowMs: number): Promise<Authority> {
  const path = join(folder, authorityFile);
  const stored = await readIfThere(path);
  if (stored !== undefined) return parseAuthority(stored, path);
  await createSecretFile(path, await newAuthority(nowMs));
  const written = await readFile(path, 'utf8');
  return parseAuthority(written, path);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new FrotaError('unavailable', `the certificate authority in ${path} cannot be read`, { cause: thrown });
  }
}

async function newAuthority(nowMs: number): Promise<string> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: newSerialNumber(),
      name: [{ CN: [`Frota cluster CA ${randomBytes(4).toString('hex')}`] }],
      ...validity(nowMs, authorityLifetimeMs),
      keys,
      signingAlgorithm,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    },
    crypto,
  );
  return `${await exportKey(keys.privateKey)}\n${certificate.toString('pem')}\n`;
}

async function parseAuthority(text: string, path: string): Promise<Authority> {
  try {
    const [key, certificate] = x509.PemConverter.decodeWithHeaders(text);
    if (key?.type !== 'PRIVATE KEY' || certificate?.type !== 'CERTIFICATE') throw new Error('a part is missing');
    const signingKey = await crypto.subtle.importKey('pkcs8', key.rawData, keyAlgorithm, false, ['sign']);
    const parsed = new x509.X509Certificate(certificate.rawData);
    await checkPair(signingKey, parsed);
    return createAuthority(signingKey, parsed);
  } catch (cause) {
    throw new FrotaError(
      'corrupt',
      `${path} is damaged: put back a copy of it; without it no certificate of this cluster can be issued`,
      { cause },
    );
  }
}

/** Key and certificate must belong together: signs something and checks it. */
async function checkPair(signingKey: CryptoKey, certificate: x509.X509Certificate): Promise<void> {
  const sample = new Uint8Array(32);
  const signature = await crypto.subtle.sign(signingAlgorithm, signingKey, sample);
  const publicKey = (await certificate.publicKey.export(keyAlgorithm, ['verify'], crypto)) as CryptoKey;
  if (!(await crypto.subtle.verify(signingAlgorithm, publicKey, signature, sample))) {
    throw new Error('key and certificate do not belong together');
  }
}

function createAuthority(signingKey: CryptoKey, ca: x509.X509Certificate): Authority {
  const caPem = ca.toString('pem');
  const issue = (order: Order): Promise<string> => issueCertificate(signingKey, ca, order);
  return {
    certificate: caPem,
    digest: certificateDigest(new Uint8Array(ca.rawData)),
    issueServer: async (addresses, nowMs) => {
      const keys = await newKeys();
      const certificate = await issue({
        subject: [{ CN: [controllerServerName] }],
        publicKey: keys.publicKey,
        usage: x509.ExtendedKeyUsage.serverAuth,
        names: [controllerServerName, 'localhost', '127.0.0.1', '::1', ...addresses],
        lifetimeMs: serverLifetimeMs,
        nowMs,
      });
      return { certificate: `${certificate}\n${caPem}\n`, key: await exportKey(keys.privateKey) };
    },
    issuePerson: async (name, role, nowMs) => {
      const keys = await newKeys();
      const subject = clientSubject(name, role);
      const certificate = await issue({
        ...clientOrder,
        subject,
        publicKey: keys.publicKey,
        lifetimeMs: personLifetimeMs,
        nowMs,
      });
      return { certificate, key: await exportKey(keys.privateKey) };
    },
    signNode: async (request, nodeId, nowMs) => {
      const publicKey = await requestedKey(request);
      const subject = clientSubject(nodeId, 'node');
      return issue({ ...clientOrder, subject, publicKey, lifetimeMs: nodeLifetimeMs, nowMs });
    },
  };
}

interface Order {
  readonly subject: x509.JsonName;
  readonly publicKey: CryptoKey | x509.PublicKey;
  readonly usage: x509.ExtendedKeyUsage;
  /** DNS names and IP addresses. */
  readonly names: readonly string[];
  readonly lifetimeMs: number;
  readonly nowMs: number;
}

const clientOrder = { usage: x509.ExtendedKeyUsage.clientAuth, names: [] } as const;

const clientSubject = (name: string, role: Role): x509.JsonName => [{ CN: [name] }, { O: [organizationOf(role)] }];

async function issueCertificate(signingKey: CryptoKey, ca: x509.X509Certificate, order: Order): Promise<string> {
  const names = [...new Set(order.names)].map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }) as const);
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([order.usage]),
    await x509.SubjectKeyIdentifierExtension.create(order.publicKey),
    await x509.AuthorityKeyIdentifierExtension.create(ca.publicKey),
  ];
  if (names.length > 0) extensions.push(new x509.SubjectAlternativeNameExtension(names));
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: newSerialNumber(),
      subject: order.subject,
      issuer: ca.subjectName,
      ...validity(order.nowMs, order.lifetimeMs),
      publicKey: order.publicKey,
      signingKey,
      signingAlgorithm,
      extensions,
    },
    crypto,
  );
  return certificate.toString('pem');
}

/** The request's key, once the request has proved that whoever made it holds the private one. */
async function requestedKey(request: Uint8Array): Promise<x509.PublicKey> {
  if (request.length > maxRequestBytes) throw new FrotaError('invalid', 'the certificate request is far too large');
  let problem = 'it is not signed by its own key';
  try {
    const parsed = new x509.Pkcs10CertificateRequest(Uint8Array.from(request));
    const algorithm = parsed.publicKey.algorithm as webcrypto.EcKeyAlgorithm;
    const isP256 = algorithm.name === 'ECDSA' && algorithm.namedCurve === 'P-256';
    if (isP256 && (await parsed.verify(crypto))) return parsed.publicKey;
    if (!isP256) problem = 'its key is not ECDSA P-256';
  } catch (cause) {
    throw new FrotaError('invalid', 'the certificate request cannot be read: PKCS #10 in DER is expected', { cause });
  }
  throw new FrotaError('invalid', `the certificate request is refused: ${problem}`);
}

const newKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);

async function exportKey(key: CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

/** Positive and unique (RFC 5280, 4.1.2.2): 127 random bits, the first of which is never zero. */
function newSerialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

const validity = (nowMs: number, lifetimeMs: number): { notBefore: Date; notAfter: Date } => ({
  notBefore: new Date(nowMs - clockSkewMs),
  notAfter: new Date(nowMs + lifetimeMs),
});

const certificateDigest = (der: Uint8Array): string =>
  createHash('sha256').update(der).digest('hex').slice(0, caDigestHexDigits);
