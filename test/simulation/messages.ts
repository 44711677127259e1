/** The messages of a session, encoded as on the wire, and in a few words for the trace. */
import { agentMessage, controllerMessage } from '../../proto/codec/dispatch.ts';
import type { AgentMessage, ControllerMessage } from '../../proto/codec/dispatch.ts';
import type { Codec } from './stream.ts';

/** Agent → controller. */
export const upCodec: Codec<AgentMessage> = {
  ...agentMessage,
  tell: (message) => {
    switch (message.kind) {
      case 'hello':
        return `hello, holds ${String(message.held.length)}`;
      case 'statuses':
        return `statuses ${String(message.sequence)} ${message.reports.map(({ taskId, state }) => `${taskId}:${state}`).join(' ')}`;
      case 'applied':
        return `applied ${message.units.map(({ key, revision }) => `${key} ${revision}`).join(' ')}`;
      case 'pong':
        return `pong ${String(message.number)}`;
      case 'lease-request':
        return `asks for leases ${String(message.number)}`;
    }
  },
};

/** Controller → agent. */
export const downCodec: Codec<ControllerMessage> = {
  ...controllerMessage,
  tell: (message) => {
    if (message.kind === 'unit') return `unit ${message.key} ${message.unit.revision}`;
    if (message.kind === 'welcome') return `welcome, epoch ${String(message.epoch)}`;
    return message.kind === 'removed' ? `removed ${message.key}` : message.kind;
  },
};
