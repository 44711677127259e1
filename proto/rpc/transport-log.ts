import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';

/**
 * grpc-js writes lines of its own to standard error, which belongs to the program; all it says there reaches the caller
 * as an error too. Whoever debugs the transport sets GRPC_VERBOSITY and GRPC_TRACE, and is then heeded.
 */
export function silenceTransport(): void {
  if (process.env['GRPC_VERBOSITY'] === undefined) setLogVerbosity(logVerbosity.NONE);
}
