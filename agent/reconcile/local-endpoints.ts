/**
 * PURE: where names, VIPs and ports of this node lead while no controller can say it: not to tasks of its own that have ended, but
 * to the attempts that it made in their place.
 */
import type { Endpoint, ServiceUnit } from '../../proto/domain/assignment.ts';

/** An attempt that this node made and that no unit of its service shows yet. */
export interface LocalEndpoint {
  readonly stack: string;
  readonly service: string;
  readonly endpoint: Endpoint;
  /** It runs and is not unwell. */
  readonly serves: boolean;
}

export interface LocalView {
  readonly attempts: readonly LocalEndpoint[];
  /** Ids of tasks of this node that nothing may lead to. */
  readonly gone: ReadonlySet<string>;
}

export function withLocalEndpoints(
  services: readonly ServiceUnit[],
  { attempts, gone }: LocalView,
): readonly ServiceUnit[] {
  if (attempts.length === 0 && gone.size === 0) return services;
  return services.map((service) => {
    const own = attempts.filter(({ stack, service: name }) => stack === service.stack && name === service.name);
    const listed = new Set(service.members.map(({ taskId }) => taskId));
    const news = own.filter(({ endpoint }) => !listed.has(endpoint.taskId));
    const stays = ({ taskId }: Endpoint): boolean => !gone.has(taskId);
    if (news.length === 0 && service.members.every(stays)) return service;
    const serving = news.filter(({ serves }) => serves);
    return {
      ...service,
      endpoints: [...service.endpoints.filter(stays), ...serving.map(({ endpoint }) => endpoint)].sort(byTask),
      members: [...service.members.filter(stays), ...news.map(({ endpoint }) => endpoint)].sort(byTask),
    };
  });
}

/** As the controller sorts them. */
const byTask = (a: Endpoint, b: Endpoint): number => (a.taskId < b.taskId ? -1 : 1);
