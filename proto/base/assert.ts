/** A violated invariant is a bug of Frota: it throws `internal`, loudly. What a person can cause is never an assertion. */
import { FrotaError } from './errors.ts';

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new FrotaError('internal', `invariant violated: ${message}`);
}

/** For the `default` of a switch over a union: a forgotten case does not compile. */
export function unreachable(value: never): never {
  throw new FrotaError('internal', `invariant violated: unexpected value ${JSON.stringify(value)}`);
}
