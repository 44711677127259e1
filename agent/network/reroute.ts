/** PURE: services without the endpoints of nodes that do not answer this one. It takes away only, and never a service's last. */
import type { ServiceUnit } from '../../proto/domain/assignment.ts';

export function withoutSilent(
  services: readonly ServiceUnit[],
  silentNodes: ReadonlySet<string>,
): readonly ServiceUnit[] {
  if (silentNodes.size === 0) return services;
  return services.map((service) => {
    const endpoints = service.endpoints.filter(({ nodeId }) => !silentNodes.has(nodeId));
    const same = endpoints.length === 0 || endpoints.length === service.endpoints.length;
    return same ? service : { ...service, endpoints };
  });
}
