import { describe, expect, it } from 'vitest';
import { withLocalEndpoints } from '../../../agent/reconcile/local-endpoints.ts';
import type { Endpoint, ServiceUnit } from '../../../proto/domain/assignment.ts';

const endpoint = (taskId: string, address: string): Endpoint => ({ taskId, nodeId: 'n1', address, slot: 1 });
const [old, far, made] = [endpoint('b-old', '10.64.0.2'), endpoint('c-far', '10.64.1.2'), endpoint('a-new', '10.64.0.3')] as const; // prettier-ignore
const unit = (name: string, ...members: readonly Endpoint[]): ServiceUnit => ({
  ...{ kind: 'service', stack: 's', name, vip: '10.80.0.1', ports: [], networks: [] },
  ...{ endpoints: members, members },
});
const attempt = { stack: 's', service: 'web', endpoint: made, serves: true };

describe('where this node leads while no controller says it', () => {
  it('to the new attempt instead of the ended task, in the service’s own unit alone', () => {
    const api = unit('api', far);
    const led = withLocalEndpoints([unit('web', old, far), api], { attempts: [attempt], gone: new Set(['b-old']) });
    expect(led).toEqual([unit('web', made, far), api]);
    expect(led[1]).toBe(api);
  });

  it('not to an attempt that is not well yet, though it is a member', () => {
    const [web] = withLocalEndpoints([unit('web', far)], { attempts: [{ ...attempt, serves: false }], gone: new Set() });
    expect(web).toMatchObject({ endpoints: [far], members: [made, far] });
  }); // prettier-ignore

  it('as the unit says once that knows of the attempt, and at calm', () => {
    const known = unit('web', made, far);
    expect(withLocalEndpoints([known], { attempts: [attempt], gone: new Set() })[0]).toBe(known);
    const units = [known];
    expect(withLocalEndpoints(units, { attempts: [], gone: new Set() })).toBe(units);
  });
});
