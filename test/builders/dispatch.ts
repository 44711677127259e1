/** Ports of a dispatch that nobody stores or measures anything of: a test names what it is about. */
import { createHash } from 'node:crypto';
import type { DispatchPorts } from '../../controller/dispatch/dispatch.ts';
import { monoMs, wallMs } from '../../proto/base/clock.ts';
import { silentLogger } from '../../proto/base/log.ts';
import { reviseUnit } from '../../proto/codec/assignment.ts';
import { startMs } from './domain.ts';

const sha256Hex = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export function aDispatch(over: Partial<DispatchPorts> & Pick<DispatchPorts, 'snapshot'>): DispatchPorts {
  return {
    liveness: () => new Map(),
    spareImages: () => new Map(),
    revise: (unit) => reviseUnit(unit, sha256Hex),
    storeStatuses: () => Promise.resolve(),
    adopt: (adoptions) => Promise.resolve(adoptions.map(() => false)),
    rememberStatus: () => undefined,
    storeFacts: () => Promise.resolve(),
    leases: (_nodeId, number) => Promise.resolve({ kind: 'lease', number, taskIds: [] }),
    livenessPlan: () => ({ kind: 'liveness', heartbeatIntervalMs: 200, peers: [] }),
    pong: () => undefined,
    welcome: () => ({
      epoch: 1,
      livenessKey: new Uint8Array(32),
      livenessPort: 7402,
      heartbeatIntervalMs: 200,
      insecureRegistries: [],
    }),
    clock: { now: () => ({ monoMs: monoMs(performance.now()), wallMs: wallMs(startMs) }) },
    logger: silentLogger,
    ...over,
  };
}
