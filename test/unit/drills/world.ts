/** Four nodes with `shop/web` on them, one replica a node and the rest again from the first on. */
import { plan } from '../../../controller/plan/plan.ts';
import { preflight } from '../../../controller/drills/preflight.ts';
import type { Preflight, PreflightInput } from '../../../controller/drills/preflight.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import type { DrillRequest } from '../../../proto/domain/drill.ts';
import type { NodeState } from '../../../proto/domain/node.ts';
import type { ServiceSpec, TaskTemplate } from '../../../proto/domain/service.ts';
import {
  aFacts,
  aLiveness,
  aNode,
  aPlanInput,
  aService,
  aServiceSpec,
  aSnapshot,
  aStack,
  aStatus,
  aTask,
  aTemplate,
  MiB,
} from '../../builders/domain.ts';

export function aRequest(over: Partial<DrillRequest> = {}): DrillRequest {
  return {
    kind: 'node-loss',
    random: false,
    slo: '',
    forMs: 30_000,
    perSecond: 50,
    probe: 'http',
    path: '/',
    force: false,
    ...over,
  };
}

export interface ShopParts {
  readonly nodes?: number;
  readonly replicas?: number;
  readonly template?: TaskTemplate;
  readonly over?: Partial<ServiceSpec>;
  readonly pinned?: boolean;
  readonly capacityMiB?: number;
}

export function aShop({ nodes = 4, replicas = 6, template = aTemplate(), ...parts }: ShopParts = {}): Snapshot {
  const { over = {}, pinned = false, capacityMiB = 1_024 } = parts;
  const names = Array.from({ length: nodes }, (_, index) => `n${String(index + 1)}`);
  const ports = [{ target: 80, published: 8080, protocol: 'tcp' as const }];
  const spec = aServiceSpec({ replicas, template, ports, ...over });
  const tasks = Array.from({ length: replicas }, (_, index) =>
    aTask({ id: `t${String(index + 1)}`, slot: index + 1, template, nodeId: `id-${names[index % nodes] ?? ''}` }),
  );
  return aSnapshot({
    stacks: [aStack('shop', [spec])],
    services: [aService({ ports, pins: pinned ? tasks.map(({ slot, nodeId = '' }) => ({ slot, nodeId })) : [] })],
    tasks,
    statuses: tasks.map(({ id }, index) => aStatus(id, 'running', { address: `10.64.0.${String(index + 2)}` })),
    nodes: names.map((name) => aNode(name)),
    facts: names.map((name, index) =>
      aFacts(`id-${name}`, {
        address: `192.0.2.${String(index + 1)}`,
        capacity: { cpuMillis: 4_000, memoryBytes: capacityMiB * MiB },
      }),
    ),
  });
}

export function check(
  snapshot: Snapshot,
  over: Partial<DrillRequest> = {},
  given: Partial<PreflightInput> & { readonly states?: Readonly<Record<string, NodeState | undefined>> } = {},
): Preflight {
  const { states = {}, ...rest } = given;
  return preflight(aRequest(over), {
    snapshot,
    liveness: aLiveness(snapshot, states),
    planFor: (liveness) => plan(snapshot, aPlanInput(snapshot, { liveness })),
    running: undefined,
    draw: 0,
    ...rest,
  });
}

/** The refusals, or nothing. */
export const refusalsOf = (result: Preflight): readonly (readonly [string, string])[] =>
  result.kind === 'refused' ? result.refusals.map(({ kind, message }) => [kind, message] as const) : [];
