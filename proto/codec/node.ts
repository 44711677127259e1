import type { ClusterRecord, JoinTokenRecord } from '../domain/cluster.ts';
import type { Node, NodeFacts } from '../domain/node.ts';
import { availabilityEnum } from './enums.ts';
import { resourcesFromWire, resourcesToWire } from './template.ts';
import * as w from './wire.ts';
import type { Received, Sent } from './wire.ts';

export const nodeToWire = (value: Node): Sent<'Node'> => ({
  id: value.id,
  name: value.name,
  availability: availabilityEnum.toWire(value.availability),
  subnet: value.subnet,
  joinedAtMs: w.long(value.joinedAtMs, 'Node.joined_at_ms'),
  labels: w.sortedMap(value.labels),
});

export const nodeFromWire = (wire: Received<'Node'>): Node => ({
  id: w.name(wire.id, 'Node.id'),
  name: w.name(wire.name, 'Node.name'),
  availability: availabilityEnum.fromWire(wire.availability, 'Node.availability'),
  subnet: w.name(wire.subnet, 'Node.subnet'),
  joinedAtMs: w.fromLong(wire.joinedAtMs, 'Node.joined_at_ms'),
  labels: w.sortedMap(wire.labels),
});

export const nodeFactsToWire = (value: NodeFacts): Sent<'NodeFacts'> => ({
  nodeId: value.nodeId,
  address: value.address,
  livenessPort: w.uint32(value.livenessPort, 'NodeFacts.liveness_port'),
  capacity: resourcesToWire(value.capacity),
  architecture: value.architecture,
  os: value.os,
  agentVersion: value.agentVersion,
});

export const nodeFactsFromWire = (wire: Received<'NodeFacts'>): NodeFacts => ({
  // Empty in a hello: the controller takes the node from the caller's certificate.
  nodeId: wire.nodeId,
  address: w.name(wire.address, 'NodeFacts.address'),
  livenessPort: wire.livenessPort,
  capacity: resourcesFromWire(w.required(wire.capacity, 'NodeFacts.capacity')),
  architecture: wire.architecture,
  os: wire.os,
  agentVersion: wire.agentVersion,
});

export const joinTokenToWire = (value: JoinTokenRecord): Sent<'JoinTokenRecord'> => ({
  id: value.id,
  secretHash: value.secretHash,
  expiresAtMs: w.long(value.expiresAtMs, 'JoinTokenRecord.expires_at_ms'),
});

export const joinTokenFromWire = (wire: Received<'JoinTokenRecord'>): JoinTokenRecord => ({
  id: w.name(wire.id, 'JoinTokenRecord.id'),
  secretHash: w.ownBytes(wire.secretHash),
  expiresAtMs: w.fromLong(wire.expiresAtMs, 'JoinTokenRecord.expires_at_ms'),
});

export const clusterToWire = (value: ClusterRecord): Sent<'ClusterRecord'> => ({
  id: value.id,
  secret: value.secret,
  containerPool: value.containerPool,
  vipPool: value.vipPool,
  epoch: w.uint32(value.epoch, 'ClusterRecord.epoch'),
  caCertificate: value.caCertificate,
});

export const clusterFromWire = (wire: Received<'ClusterRecord'>): ClusterRecord => ({
  id: w.name(wire.id, 'ClusterRecord.id'),
  secret: w.ownBytes(wire.secret),
  containerPool: w.name(wire.containerPool, 'ClusterRecord.container_pool'),
  vipPool: w.name(wire.vipPool, 'ClusterRecord.vip_pool'),
  epoch: wire.epoch,
  caCertificate: wire.caCertificate,
});
