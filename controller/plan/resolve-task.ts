/** A task as people write it: its id or the beginning of one, or its slot: `web.2`, `stack/web.2`, `stack_web.2`. */
import { serviceId } from '../../proto/domain/service.ts';
import { slotName } from '../../proto/domain/task.ts';

/** Shorter beginnings of an id name too many, and are rather words. */
const minIdPrefix = 3;

export const isTaskId = (written: string, id: string): boolean =>
  written === id || (written.length >= minIdPrefix && id.startsWith(written));

export const isServiceName = (written: string, stack: string, service: string): boolean =>
  written === service || written === serviceId(stack, service) || written === `${stack}_${service}`;

export const isSlotName = (written: string, stack: string, service: string, slot: number): boolean =>
  isServiceName(written, stack, slotName(service, slot));
