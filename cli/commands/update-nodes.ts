import { FrotaError } from '../../proto/base/errors.ts';
import type { Availability } from '../../proto/domain/node.ts';
import type { NodeView } from '../../proto/domain/views.ts';
import { countText } from '../render/text.ts';
import type { Control } from './control.ts';
import type { Host } from './host.ts';

export interface UpdatedNodes {
  readonly updated: readonly NodeView[];
  readonly failures: readonly Failure[];
}

interface Failure {
  readonly node: string;
  readonly error: FrotaError;
}

/** One node that can't be changed does not keep the others. A controller that is gone does. */
export async function updateNodes(
  host: Host,
  control: Control,
  names: readonly string[],
  { availability }: { readonly availability: Availability },
): Promise<UpdatedNodes> {
  const updated: NodeView[] = [];
  const failures: Failure[] = [];
  for (const node of new Set(names)) {
    try {
      updated.push(await control.updateNode({ node, availability, setLabels: {}, removeLabels: [] }, host.signal));
    } catch (thrown) {
      const error = FrotaError.from(thrown);
      if (error.code === 'unavailable' || error.code === 'cancelled') throw error;
      failures.push({ node, error });
    }
  }
  return { updated, failures };
}

export function throwFailures(failures: readonly Failure[]): void {
  const [first, second] = failures;
  if (first === undefined) return;
  if (second === undefined) throw first.error;
  throw new FrotaError(first.error.code, `${countText(failures.length, 'node')} not changed`, {
    problems: failures.map(({ node, error }) => ({ where: node, message: error.message })),
  });
}
