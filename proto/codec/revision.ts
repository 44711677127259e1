import type { Revision } from '../domain/revision.ts';
import { changeKindEnum } from './enums.ts';
import { stackFromWire, stackToWire } from './service.ts';
import * as w from './wire.ts';
import type { Received, Sent } from './wire.ts';

export const revisionToWire = (value: Revision): Sent<'Revision'> => ({
  stack: stackToWire(value.stack),
  kind: changeKindEnum.toWire(value.kind),
  differences: [...value.differences],
  restores: w.optionalUint32(value.restores, 'Revision.restores'),
});

export const revisionFromWire = (wire: Received<'Revision'>): Revision =>
  w.fields<Revision>({
    stack: stackFromWire(w.required(wire.stack, 'Revision.stack')),
    kind: changeKindEnum.fromWire(wire.kind, 'Revision.kind'),
    differences: wire.differences,
    restores: wire.restores ?? undefined,
  });
