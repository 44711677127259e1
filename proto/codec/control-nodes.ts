/** Requests and replies of the Control service about nodes. */
import type { Availability } from '../domain/node.ts';
import type { NodeView } from '../domain/views.ts';
import { availabilityEnum } from './enums.ts';
import { nodeViewFromWire, nodeViewToWire } from './views.ts';
import * as w from './wire.ts';
import type { Codec } from './wire.ts';

/** `node`: its name or its id. What is left out stays as it is. */
export interface UpdateNodeRequest {
  readonly node: string;
  readonly availability?: Availability;
  readonly setLabels: Readonly<Record<string, string>>;
  readonly removeLabels: readonly string[];
}
export interface UpdateNodeReply {
  readonly node: NodeView;
}

export const updateNodeRequest: Codec<UpdateNodeRequest> = w.messageCodec(
  'UpdateNodeRequest',
  ({ node, availability, setLabels, removeLabels }) => ({
    node,
    availability: availability === undefined ? null : availabilityEnum.toWire(availability),
    setLabels: w.sortedMap(setLabels),
    removeLabels: [...removeLabels],
  }),
  ({ node, availability, setLabels, removeLabels }) =>
    w.fields<UpdateNodeRequest>({
      node,
      availability: w.optional(availability, (value) =>
        availabilityEnum.fromWire(value, 'UpdateNodeRequest.availability'),
      ),
      setLabels: w.sortedMap(setLabels),
      removeLabels,
    }),
);

export const updateNodeReply: Codec<UpdateNodeReply> = w.messageCodec(
  'UpdateNodeReply',
  ({ node }) => ({ node: nodeViewToWire(node) }),
  (wire) => ({ node: nodeViewFromWire(w.required(wire.node, 'UpdateNodeReply.node')) }),
);
