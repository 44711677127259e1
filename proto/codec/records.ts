/** The stored records as bytes. Encoding is deterministic: equal values give equal bytes. */
import { contentRecordFromWire, contentRecordToWire } from './content.ts';
import { registryRecordFromWire, registryRecordToWire } from './registry.ts';
import { clusterFromWire, clusterToWire, joinTokenFromWire, joinTokenToWire } from './node.ts';
import { nodeFactsFromWire, nodeFactsToWire, nodeFromWire, nodeToWire } from './node.ts';
import { revisionFromWire, revisionToWire } from './revision.ts';
import { keptPinsFromWire, keptPinsToWire } from './service.ts';
import { serviceFromWire, serviceToWire, stackFromWire, stackToWire } from './service.ts';
import { templateFromWire, templateToWire } from './template.ts';
import { taskFromWire, taskStatusFromWire, taskStatusToWire, taskToWire } from './task.ts';
import { eventFromWire, eventToWire } from './events.ts';
import { messageCodec } from './wire.ts';

export const { encode: encodeTaskTemplate, decode: decodeTaskTemplate } = messageCodec(
  'TaskTemplate',
  templateToWire,
  templateFromWire,
);
export const { encode: encodeStack, decode: decodeStack } = messageCodec('Stack', stackToWire, stackFromWire);
export const { encode: encodeRevision, decode: decodeRevision } = messageCodec(
  'Revision',
  revisionToWire,
  revisionFromWire,
);
export const { encode: encodeService, decode: decodeService } = messageCodec('Service', serviceToWire, serviceFromWire);
export const { encode: encodeKeptPins, decode: decodeKeptPins } = messageCodec(
  'KeptPins',
  keptPinsToWire,
  keptPinsFromWire,
);
export const { encode: encodeTask, decode: decodeTask } = messageCodec('Task', taskToWire, taskFromWire);
export const { encode: encodeTaskStatus, decode: decodeTaskStatus } = messageCodec(
  'TaskStatus',
  taskStatusToWire,
  taskStatusFromWire,
);
export const { encode: encodeNode, decode: decodeNode } = messageCodec('Node', nodeToWire, nodeFromWire);
export const { encode: encodeNodeFacts, decode: decodeNodeFacts } = messageCodec(
  'NodeFacts',
  nodeFactsToWire,
  nodeFactsFromWire,
);
export const { encode: encodeJoinTokenRecord, decode: decodeJoinTokenRecord } = messageCodec(
  'JoinTokenRecord',
  joinTokenToWire,
  joinTokenFromWire,
);
export const { encode: encodeEvent, decode: decodeEvent } = messageCodec('Event', eventToWire, eventFromWire);
export const { encode: encodeClusterRecord, decode: decodeClusterRecord } = messageCodec(
  'ClusterRecord',
  clusterToWire,
  clusterFromWire,
);
export const { encode: encodeContentRecord, decode: decodeContentRecord } = messageCodec(
  'ContentRecord',
  contentRecordToWire,
  contentRecordFromWire,
);
export const { encode: encodeRegistryRecord, decode: decodeRegistryRecord } = messageCodec(
  'RegistryRecord',
  registryRecordToWire,
  registryRecordFromWire,
);
