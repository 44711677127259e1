/** What went wrong below HTTP, in words, and whether trying again may help. */
export interface TransportFailure {
  readonly transient: boolean;
  readonly reason: string;
  /** It would work if the registry were listed as insecure. */
  readonly isTrust?: boolean;
}

/** A host that is there accepts at once; SYN retransmission covers one lost packet within this. */
export const connectTimeoutMs = 5_000;
/** Registries look up storage before they answer; the slow ones take a few seconds. */
export const headersTimeoutMs = 10_000;
/** A body of which no byte came for this long is given up and asked for again from there. */
export const stalledBodyMs = 15_000;

const failures: Readonly<Record<string, TransportFailure>> = {
  ECONNREFUSED: { transient: true, reason: 'connection refused' },
  ECONNRESET: { transient: true, reason: 'the connection was reset' },
  EPIPE: { transient: true, reason: 'the connection was reset' },
  UND_ERR_SOCKET: { transient: true, reason: 'the connection broke off' },
  ETIMEDOUT: { transient: true, reason: 'no answer to the connection attempt' },
  UND_ERR_CONNECT_TIMEOUT: { transient: true, reason: `no connection within ${String(connectTimeoutMs / 1000)} s` },
  UND_ERR_HEADERS_TIMEOUT: {
    transient: true,
    reason: `connected, but no answer within ${String(headersTimeoutMs / 1000)} s`,
  },
  UND_ERR_BODY_TIMEOUT: { transient: true, reason: `the transfer stalled for ${String(stalledBodyMs / 1000)} s` },
  EHOSTUNREACH: { transient: true, reason: 'no route to the host' },
  ENETUNREACH: { transient: true, reason: 'no route to its network' },
  EAI_AGAIN: { transient: true, reason: 'its name could not be looked up now' },
  ENOTFOUND: { transient: false, reason: 'there is no host of that name' },
  UND_ERR_HEADERS_OVERFLOW: { transient: false, reason: 'its answer has too long headers' },
  ERR_SSL_WRONG_VERSION_NUMBER: { transient: false, reason: 'it does not speak TLS', isTrust: true },
  EPROTO: { transient: false, reason: 'it does not speak TLS', isTrust: true },
};

/** Node's codes for certificates that can't be verified begin or read like these. */
const certificateCode = /^(CERT_|ERR_TLS_CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CRL_|HOSTNAME_MISMATCH)/;

export function transportFailure(error: unknown): TransportFailure {
  const code = codeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  if (certificateCode.test(code)) {
    return { transient: false, reason: `its certificate is not trusted (${message})`, isTrust: true };
  }
  return failures[code] ?? { transient: true, reason: message === '' ? code : message };
}

/** The system's or undici's code; several addresses tried at once fail as one AggregateError. */
function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  const { code, errors, cause } = error as { code?: unknown; errors?: readonly unknown[]; cause?: unknown };
  if (typeof code === 'string') return code;
  const inner = errors?.[0] ?? cause;
  return inner === undefined ? '' : codeOf(inner);
}
