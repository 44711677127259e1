/** PURE: refuses a stack at apply whose ports other stacks publish already. */
import type { Problem } from '../../proto/base/errors.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { Service, StackSpec } from '../../proto/domain/service.ts';
import { portKey } from './published-ports.ts';

/**
 * One problem for each port of `spec` that a service of another stack declares, or (with `services`, the records) was
 * given. Ports within one stack are `validateStackSpec`'s.
 */
export function portConflicts(
  spec: StackSpec,
  others: Iterable<StackSpec>,
  services: Iterable<Service> = [],
): readonly Problem[] {
  const owners = new Map<string, string>();
  for (const service of services) {
    if (service.stack === spec.name) continue;
    for (const port of service.ports)
      owners.set(portKey(port.published, port.protocol), serviceId(service.stack, service.name));
  }
  for (const other of others) {
    if (other.name === spec.name) continue;
    for (const { name, ports } of other.services) {
      for (const { published, protocol } of ports) {
        if (published !== undefined) owners.set(portKey(published, protocol), serviceId(other.name, name));
      }
    }
  }
  return spec.services.flatMap(({ name, ports }) =>
    ports.flatMap(({ published, protocol }, index) => {
      const owner = published === undefined ? undefined : owners.get(portKey(published, protocol));
      if (published === undefined || owner === undefined) return [];
      const where = `services.${name}.ports[${String(index)}]`;
      const message = `port ${portKey(published, protocol)} is already published by ${owner}; publish another one, or remove that service`;
      return [{ where, message }];
    }),
  );
}
