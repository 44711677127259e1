/** Credentials of registries for the nodes that pull from them, and for no others. */
import { FrotaError } from '../../proto/base/errors.ts';
import type { GetRegistryCredentialReply } from '../../proto/codec/registry.ts';
import type { RegistryCredential } from '../../proto/domain/registry.ts';
import { parseReference } from '../../proto/oci/reference.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import { assignedTasksOf } from './units.ts';

export interface CredentialPorts {
  readonly snapshot: () => Snapshot;
  readonly readRegistry: (host: string) => Promise<RegistryCredential | undefined>;
}

/**
 * `nodeId` comes from the caller's certificate. @throws FrotaError `forbidden` when no image of the node's tasks is of that
 * registry, which says nothing of whether the cluster has a credential for it.
 */
export async function credentialFor(
  ports: CredentialPorts,
  nodeId: string,
  registry: string,
): Promise<GetRegistryCredentialReply> {
  const pulls = assignedTasksOf(ports.snapshot(), nodeId).some(
    ({ template }) => parseReference(template.image.reference).registry === registry,
  );
  if (!pulls)
    throw new FrotaError('forbidden', `no task of this node has an image of registry ${registry.slice(0, 80)}`);
  const credential = await ports.readRegistry(registry);
  if (credential === undefined) return {};
  const { username, password } = credential;
  return { credential: { username, password } };
}
