/** PURE: the few lines with which `npm start` ends. */
import type { NodeView, ServiceView } from '../../../proto/domain/views.ts';
import type { UpResult } from '../ports.ts';

export interface Summary {
  readonly up: Pick<UpResult, 'name' | 'controller' | 'registry'>;
  readonly nodes: readonly NodeView[];
  readonly services: readonly ServiceView[];
  /** How `bin/frota` is called from here. */
  readonly program: string;
  /** What the first node's published port answered; empty if nothing. */
  readonly page: string;
}

export function summaryText({ up, nodes, services, program, page }: Summary): string {
  const urls = services.flatMap((service) =>
    service.ports.map((port) => ({
      service: `${service.stack}/${service.name}`,
      urls: nodes.map((node) => `http://${node.address}:${port.published}/`),
    })),
  );
  const frota = program.includes('/') ? program : `./${program}`;
  return [
    '',
    `Cluster ${up.name}: controller ${up.controller}, registry ${up.registry}`,
    '',
    'Nodes',
    ...columns(
      nodes.map((node) => [node.name, node.address, node.state, node.tasks === 1 ? '1 task' : `${node.tasks} tasks`]),
    ),
    '',
    'Services',
    ...columns(
      services.map((service) => [
        `${service.stack}/${service.name}`,
        `${service.replicas.running}/${service.replicas.desired} running`,
        service.image,
      ]),
    ),
    '',
    'Open',
    ...columns(urls.map((each) => [each.service, each.urls.join('  ')])),
    ...(page === '' ? [] : [`  → ${page}`]),
    '',
    'Try next',
    `  ${frota} scale hello/web=5 --wait`,
    `  ${frota} ps hello/web`,
    `  ${frota} logs -f hello     # what its containers write, until Ctrl-C`,
    `  ${frota} events -f     # what happens, and because of what`,
    `  ip netns exec frota-${up.name}-n2 ip link set eth0 down     # cut off node n2; "up" brings it back`,
    '',
    `The cluster runs on in the background. ${frota} cluster down ${up.name} stops it, with --volumes it removes its data.`,
    '',
  ].join('\n');
}

/** Rows indented by two, every column as wide as its widest cell. */
function columns(rows: readonly (readonly string[])[]): readonly string[] {
  const width = (at: number): number => Math.max(...rows.map((row) => (row[at] ?? '').length));
  return rows.map(
    (row) => `  ${row.map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(width(at)))).join('  ')}`,
  );
}
