/** What a controller refuses of `depends_on`: what can never come to be. */
import type { ServiceSpec } from './service.ts';

type Report = (where: string, message: string) => void;

export function checkDependencies(services: readonly ServiceSpec[], report: Report): void {
  const declared = new Map(services.map((service) => [service.name, service]));
  for (const { name, dependsOn } of services) {
    for (const { service, condition, required } of dependsOn) {
      const where = `services.${name}.depends_on.${service}`;
      const dependency = declared.get(service);
      if (service === name) report(where, 'a service cannot wait for itself');
      else if (dependency === undefined && required) {
        report(where, `there is no service "${service}" in this stack; declare it, or write "required: false"`);
      } else if (condition === 'healthy' && dependency?.template.healthCheck?.test?.[0] === 'NONE') {
        report(where, `"${service}" has its health check disabled, so it is never healthy; wait for it to start`);
      }
    }
  }
  reportCircles(services, declared, report);
}

/** Each circle once, at the service by which it is found: the first of it in the file. */
function reportCircles(
  services: readonly ServiceSpec[],
  declared: ReadonlyMap<string, ServiceSpec>,
  report: Report,
): void {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = ({ name, dependsOn }: ServiceSpec): void => {
    path.push(name);
    for (const { service } of dependsOn) {
      const next = declared.get(service);
      const begin = path.indexOf(service);
      if (begin !== -1 && service !== name) {
        const circle = [...path.slice(begin), service].join(' waits for ');
        report(`services.${service}.depends_on`, `${circle}: none of them would ever start`);
      } else if (next !== undefined && begin === -1 && !done.has(service)) {
        visit(next);
      }
    }
    path.pop();
    done.add(name);
  };
  for (const service of services) if (!done.has(service.name)) visit(service);
}
