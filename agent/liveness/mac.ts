/** How datagrams of liveness are signed, whoever's key it is. */
import { createHmac } from 'node:crypto';
import type { Mac } from '../../proto/codec/datagram.ts';

export const macWith =
  (key: Uint8Array): Mac =>
  (bytes) =>
    createHmac('sha256', key).update(bytes).digest();
