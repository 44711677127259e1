/** What a stack declares of a service, with the hash of its template. */
import type { ServiceSpec } from '../../proto/domain/service.ts';

export interface Declaration {
  readonly spec: ServiceSpec;
  readonly templateHash: string;
}
