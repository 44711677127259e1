/** What a registry's refusal means to a person (distribution-spec, "Error codes"). */
import { FrotaError } from '../base/errors.ts';
import { formatReference } from './reference.ts';
import type { ImageReference } from './reference.ts';
import type { HttpResponse } from './transport.ts';

/** Error bodies are a few hundred bytes; what is longer is a page for a browser. */
const maxErrorBytes = 64 * 1024;
const maxQuotedLength = 200;

interface RegistryComplaint {
  readonly code: string;
  readonly message: string;
}

/** What a request is for. */
export type RequestSubject =
  | { readonly reference: ImageReference; readonly what: 'manifest' }
  | { readonly reference: ImageReference; readonly what: 'blob'; readonly digest: string };

/** In messages: the image, and which part of it. */
export const subjectName = (subject: RequestSubject): string =>
  subject.what === 'manifest'
    ? formatReference(subject.reference)
    : `blob ${subject.digest} of ${formatReference(subject.reference)}`;

/** The error for an answer that is no success; reads its body. */
export async function registryError(subject: RequestSubject, response: HttpResponse): Promise<FrotaError> {
  const complaint = await readComplaint(response);
  const { reference } = subject;
  const name = subjectName(subject);
  const said = complaint === undefined ? `HTTP status ${String(response.status)}` : quote(complaint);
  switch (response.status) {
    case 401:
    case 403:
      return new FrotaError(
        'unauthenticated',
        `registry ${reference.registry} refuses the pull of ${name}: "${reference.repository}" does not exist there, or wants to know who pulls (${said}); ${loginHint(reference.registry)}`,
      );
    case 404:
      return new FrotaError('not-found', notFoundMessage(subject, complaint));
    case 429:
      return new FrotaError(
        'unavailable',
        `registry ${reference.registry} limits the rate of pulls; ${name} has to wait (${said})`,
      );
    default:
      return new FrotaError(
        'unavailable',
        `registry ${reference.registry} fails to serve ${name}: ${said}${complaint === undefined ? '' : `, HTTP status ${String(response.status)}`}`,
      );
  }
}

/** The word of a person to whom a registry says no: the cluster's logins are theirs to give. */
export const loginHint = (registry: string): string => `log the cluster in with: frota registry login ${registry}`;

function notFoundMessage(subject: RequestSubject, complaint: RegistryComplaint | undefined): string {
  const { registry, repository, tag, digest } = subject.reference;
  const name = formatReference(subject.reference);
  if (subject.what === 'blob')
    return `${name} is incomplete: registry ${registry} has lost its blob ${subject.digest}; push the image again`;
  if (complaint?.code === 'NAME_UNKNOWN') {
    return `${name} was not found: registry ${registry} has no repository "${repository}"; check the name, or push the image first`;
  }
  const version = digest === undefined ? `tag "${tag ?? ''}"` : `manifest ${digest}`;
  return `${name} was not found: repository "${repository}" of registry ${registry} has no ${version}; check it, or push the image first`;
}

async function readComplaint(response: HttpResponse): Promise<RegistryComplaint | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response.body) {
      size += (chunk as Buffer).length;
      if (size > maxErrorBytes) return undefined;
      chunks.push(chunk as Buffer);
    }
    const { errors } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { errors?: readonly unknown[] };
    const { code, message } = (errors?.[0] ?? {}) as { code?: unknown; message?: unknown };
    if (typeof code !== 'string') return undefined;
    return { code, message: typeof message === 'string' ? message : '' };
  } catch {
    // The status says enough; a broken or missing explanation must not hide it.
    return undefined;
  }
}

/** The registry's words, without anything that could disturb a terminal. */
function quote({ code, message }: RegistryComplaint): string {
  const text = `${code}${message === '' ? '' : `: ${message}`}`.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
  return text.length > maxQuotedLength ? `${text.slice(0, maxQuotedLength)}…` : text;
}
