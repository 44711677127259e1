/** Use-cases: what the cluster logs in to image registries with. A password comes in and never goes out again here. */
import { FrotaError } from '../../proto/base/errors.ts';
import type * as wire from '../../proto/codec/registry.ts';
import { maxRegistryPasswordLength, maxRegistryUsernameLength } from '../../proto/domain/registry.ts';
import type { RegistryCredential, RegistryView } from '../../proto/domain/registry.ts';
import { parseRegistry } from '../../proto/oci/reference.ts';

export interface RegistryPorts {
  /** @throws FrotaError `unauthenticated`, `unavailable`, when the registry does not take it or can't be asked. */
  readonly checkRegistry: (credential: RegistryCredential, signal: AbortSignal) => Promise<void>;
  /** Durable when it resolves. */
  readonly putRegistry: (credential: RegistryCredential) => Promise<void>;
  /** False: there was none. */
  readonly deleteRegistry: (host: string) => Promise<boolean>;
  readonly listRegistries: () => Promise<readonly RegistryView[]>;
}

/** The calls of the Control service that are about registries. */
export const registryUseCases = (ports: RegistryPorts) => ({
  registryLogin: (request: wire.RegistryLoginRequest, caller: { readonly signal: AbortSignal }) =>
    loginRegistry(ports, request, caller.signal),
  registryLogout: (request: wire.RegistryLogoutRequest) => logoutRegistry(ports, request),
  listRegistries: async (): Promise<wire.ListRegistriesReply> => ({ registries: await ports.listRegistries() }),
});

export async function loginRegistry(
  ports: RegistryPorts,
  request: wire.RegistryLoginRequest,
  signal: AbortSignal,
): Promise<wire.RegistryLoginReply> {
  const { username, password, check } = request;
  const host = parseRegistry(request.host);
  // A header `user:password` has room for no colon in the user (RFC 7617), and none for what ends a line.
  if (!/^[^:\u0000-\u001f\u007f]+$/.test(username) || username.length > maxRegistryUsernameLength) {
    throw new FrotaError('invalid', 'a user name has 1 to 255 characters, and none of them is a colon');
  }
  if (password === '' || password.length > maxRegistryPasswordLength || /[\u0000-\u001f\u007f]/.test(password)) {
    throw new FrotaError(
      'invalid',
      `a password or access token has 1 to ${String(maxRegistryPasswordLength)} characters, and no line break`,
    );
  }
  const credential = { host, username, password };
  if (check) await ports.checkRegistry(credential, signal);
  await ports.putRegistry(credential);
  return { host };
}

export async function logoutRegistry(
  ports: RegistryPorts,
  request: wire.RegistryLogoutRequest,
): Promise<wire.RegistryLoginReply> {
  const host = parseRegistry(request.host);
  if (await ports.deleteRegistry(host)) return { host };
  const known = (await ports.listRegistries()).map((each) => each.host).sort();
  const hint = known.length === 0 ? 'there are no logins' : `there are: ${known.join(', ')}`;
  throw new FrotaError('not-found', `the cluster has no login for registry "${host}"; ${hint}`);
}
