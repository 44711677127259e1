/** PURE: signals as images and people write them. */
import { constants } from 'node:os';
import { FrotaError } from '../../../proto/base/errors.ts';

/** The first real-time signal that the C library leaves to programs, and the last one (signal(7)). */
const realTimeMin = 34;
const realTimeMax = 64;

/** `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3` → its number; `invalid` for anything else. */
export function signalNumber(text: string): number {
  const upper = text.trim().toUpperCase();
  const name = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  const known: Readonly<Record<string, number>> = constants.signals;
  const realTime = /^SIGRT(MIN\+|MAX-)(\d+)$/.exec(name);
  let number = known[name];
  if (/^\d+$/.test(upper)) number = Number(upper);
  else if (name === 'SIGRTMIN') number = realTimeMin;
  else if (name === 'SIGRTMAX') number = realTimeMax;
  else if (realTime !== null) {
    number = realTime[1] === 'MIN+' ? realTimeMin + Number(realTime[2]) : realTimeMax - Number(realTime[2]);
  }
  if (number === undefined || number < 1 || number > realTimeMax) {
    throw new FrotaError('invalid', `${JSON.stringify(text)} is no signal; write it like SIGTERM or 15`);
  }
  return number;
}
