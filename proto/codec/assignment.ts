import { FrotaError } from '../base/errors.ts';
import type {
  AssignedTask,
  Endpoint,
  ImagesUnit,
  NetworkUnit,
  Peer,
  RestartRule,
  RevisedUnit,
  ServiceUnit,
  TasksUnit,
  Unit,
} from '../domain/assignment.ts';
import { unreachable } from '../base/assert.ts';
import { assignedStateEnum } from './enums.ts';
import { publishedPortFromWire, publishedPortToWire, restartFromWire, restartToWire } from './service.ts';
import {
  attachmentFromWire,
  attachmentToWire,
  imageFromWire,
  imageToWire,
  templateFromWire,
  templateToWire,
} from './template.ts';
import * as w from './wire.ts';
import type { Codec, Received, Sent } from './wire.ts';

const ruleToWire = (value: RestartRule): Sent<'RestartRule'> => ({
  policy: restartToWire(value.policy),
  attempt: w.uint32(value.attempt, 'RestartRule.attempt'),
  quickFailures: w.uint32(value.quickFailures, 'RestartRule.quick_failures'),
  restarts: w.uint32(value.restarts, 'RestartRule.restarts'),
  restartedBeforeMs: value.restartedBeforeMs.map((ms) => w.long(ms, 'RestartRule.restarted_before_ms')),
});

const ruleFromWire = (wire: Received<'RestartRule'>): RestartRule => ({
  policy: restartFromWire(w.required(wire.policy, 'RestartRule.policy')),
  attempt: wire.attempt,
  quickFailures: wire.quickFailures,
  restarts: wire.restarts,
  restartedBeforeMs: wire.restartedBeforeMs.map((ms) => w.fromLong(ms, 'RestartRule.restarted_before_ms')),
});

const assignedTaskToWire = (value: AssignedTask): Sent<'AssignedTask'> => ({
  id: value.id,
  stack: value.stack,
  service: value.service,
  slot: w.uint32(value.slot, 'AssignedTask.slot'),
  desired: assignedStateEnum.toWire(value.desired),
  template: templateToWire(value.template),
  fence: w.optionalLong(value.fence, 'AssignedTask.fence'),
  restart: value.restart === undefined ? null : ruleToWire(value.restart),
});

const assignedTaskFromWire = (wire: Received<'AssignedTask'>): AssignedTask =>
  w.fields<AssignedTask>({
    id: w.name(wire.id, 'AssignedTask.id'),
    stack: w.name(wire.stack, 'AssignedTask.stack'),
    service: w.name(wire.service, 'AssignedTask.service'),
    slot: wire.slot,
    desired: assignedStateEnum.fromWire(wire.desired, 'AssignedTask.desired'),
    template: templateFromWire(w.required(wire.template, 'AssignedTask.template')),
    fence: w.fromOptionalLong(wire.fence, 'AssignedTask.fence'),
    restart: w.optional(wire.restart, ruleFromWire),
  });

const endpointToWire = ({ taskId, nodeId, address, slot }: Endpoint): Sent<'Endpoint'> => ({
  taskId,
  nodeId,
  address,
  slot: w.uint32(slot, 'Endpoint.slot'),
});

const endpointFromWire = (wire: Received<'Endpoint'>): Endpoint => ({
  taskId: w.name(wire.taskId, 'Endpoint.task_id'),
  nodeId: w.name(wire.nodeId, 'Endpoint.node_id'),
  address: w.name(wire.address, 'Endpoint.address'),
  slot: wire.slot,
});

const peerToWire = ({ nodeId, name, address, subnet }: Peer): Sent<'Peer'> => ({ nodeId, name, address, subnet });

const peerFromWire = (wire: Received<'Peer'>): Peer => ({
  nodeId: w.name(wire.nodeId, 'Peer.node_id'),
  name: w.name(wire.name, 'Peer.name'),
  address: w.name(wire.address, 'Peer.address'),
  subnet: w.name(wire.subnet, 'Peer.subnet'),
});

const tasksToWire = (value: TasksUnit): Sent<'TasksUnit'> => ({ tasks: value.tasks.map(assignedTaskToWire) });

const tasksFromWire = (wire: Received<'TasksUnit'>): TasksUnit => ({
  kind: 'tasks',
  tasks: wire.tasks.map(assignedTaskFromWire),
});

const serviceToWire = (value: ServiceUnit): Sent<'ServiceUnit'> => ({
  stack: value.stack,
  name: value.name,
  vip: value.vip,
  ports: value.ports.map(publishedPortToWire),
  endpoints: value.endpoints.map(endpointToWire),
  members: value.members.map(endpointToWire),
  networks: value.networks.map(attachmentToWire),
});

const serviceFromWire = (wire: Received<'ServiceUnit'>): ServiceUnit => ({
  kind: 'service',
  stack: w.name(wire.stack, 'ServiceUnit.stack'),
  name: w.name(wire.name, 'ServiceUnit.name'),
  vip: w.name(wire.vip, 'ServiceUnit.vip'),
  ports: wire.ports.map(publishedPortFromWire),
  endpoints: wire.endpoints.map(endpointFromWire),
  members: wire.members.map(endpointFromWire),
  networks: wire.networks.map(attachmentFromWire),
});

const networkToWire = (value: NetworkUnit): Sent<'NetworkUnit'> => ({
  containerPool: value.containerPool,
  vipPool: value.vipPool,
  peers: value.peers.map(peerToWire),
  internal: [...value.internal],
});

const networkFromWire = (wire: Received<'NetworkUnit'>): NetworkUnit => ({
  kind: 'network',
  containerPool: w.name(wire.containerPool, 'NetworkUnit.container_pool'),
  vipPool: w.name(wire.vipPool, 'NetworkUnit.vip_pool'),
  peers: wire.peers.map(peerFromWire),
  internal: wire.internal,
});

const imagesToWire = (value: ImagesUnit): Sent<'ImagesUnit'> => ({ images: value.images.map(imageToWire) });

const imagesFromWire = (wire: Received<'ImagesUnit'>): ImagesUnit => ({
  kind: 'images',
  images: wire.images.map(imageFromWire),
});

/** One unit as it is now, or that it is no longer there. */
export type UnitChange =
  | { readonly kind: 'unit'; readonly key: string; readonly unit: RevisedUnit }
  | { readonly kind: 'removed'; readonly key: string };

const noContent = { tasks: null, service: null, network: null, removed: null, images: null };

function contentToWire(unit: Unit): Pick<Sent<'UnitChange'>, keyof typeof noContent> {
  switch (unit.kind) {
    case 'tasks':
      return { ...noContent, tasks: tasksToWire(unit) };
    case 'service':
      return { ...noContent, service: serviceToWire(unit) };
    case 'network':
      return { ...noContent, network: networkToWire(unit) };
    case 'images':
      return { ...noContent, images: imagesToWire(unit) };
    default:
      return unreachable(unit);
  }
}

export function unitChangeToWire(change: UnitChange): Sent<'UnitChange'> {
  if (change.kind === 'removed') return { key: change.key, revision: '', ...noContent, removed: {} };
  return { key: change.key, revision: change.unit.revision, ...contentToWire(change.unit.unit) };
}

export function unitChangeFromWire(wire: Received<'UnitChange'>): UnitChange {
  const key = w.name(wire.key, 'UnitChange.key');
  if (wire.removed !== null) return { kind: 'removed', key };
  const unit = contentFromWire(wire);
  return { kind: 'unit', key, unit: { revision: w.name(wire.revision, 'UnitChange.revision'), unit } };
}

function contentFromWire(wire: Received<'UnitChange'>): Unit {
  if (wire.tasks !== null) return tasksFromWire(wire.tasks);
  if (wire.service !== null) return serviceFromWire(wire.service);
  if (wire.network !== null) return networkFromWire(wire.network);
  if (wire.images !== null) return imagesFromWire(wire.images);
  throw new FrotaError('corrupt', 'UnitChange.content is missing or of a later version');
}

export const unitChange: Codec<UnitChange> = w.messageCodec('UnitChange', unitChangeToWire, unitChangeFromWire);

/** 64 bits: two contents of one unit never meet by chance, and the list of held units stays small. */
const revisionHexDigits = 16;

/**
 * Gives a unit its revision: the start of a hash of its encoded bytes. Equal contents have equal revisions on every
 * controller and after every restart. `sha256Hex` is an argument because this room knows no `node:*`.
 */
export function reviseUnit(unit: Unit, sha256Hex: (bytes: Uint8Array) => string): RevisedUnit {
  const bytes = unitChange.encode({ kind: 'unit', key: '', unit: { revision: '', unit } });
  return { revision: sha256Hex(bytes).slice(0, revisionHexDigits), unit };
}
