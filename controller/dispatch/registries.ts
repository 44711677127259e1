/** Credentials of registries for the nodes that pull from them, and for no others. */
import { FrotaError } from '../../proto/base/errors.ts';
import type { GetRegistryCredentialReply } from '../../proto/codec/registry.ts';
import type { RegistryCredential } from '../../proto/domain/registry.ts';
import type { ResolvedImage } from '../../proto/domain/service.ts';
import { parseReference } from '../../proto/oci/reference.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import { assignedTasksOf } from './units.ts';

export interface CredentialPorts {
  readonly snapshot: () => Snapshot;
  /** By node id: images that it is to have ahead of need. */
  readonly spareImages: () => ReadonlyMap<string, readonly ResolvedImage[]>;
  readonly readRegistry: (host: string) => Promise<RegistryCredential | undefined>;
}

/**
 * `nodeId` comes from the caller's certificate. @throws FrotaError `forbidden` when no image that the node is to have is
 * of that registry, which says nothing of whether the cluster has a credential for it.
 */
export async function credentialFor(
  ports: CredentialPorts,
  nodeId: string,
  registry: string,
): Promise<GetRegistryCredentialReply> {
  const needed = assignedTasksOf(ports.snapshot(), nodeId).map(({ template }) => template.image);
  const images = [...needed, ...(ports.spareImages().get(nodeId) ?? [])];
  if (!images.some(({ reference }) => parseReference(reference).registry === registry)) {
    throw new FrotaError('forbidden', `this node is to have no image of registry ${registry.slice(0, 80)}`);
  }
  const credential = await ports.readRegistry(registry);
  if (credential === undefined) return {};
  const { username, password } = credential;
  return { credential: { username, password } };
}
