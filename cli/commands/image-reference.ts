import { FrotaError } from '../../proto/base/errors.ts';
import { parseReference } from '../../proto/oci/reference.ts';

/** What is wrong with an image reference, or undefined. The canonical form is made by the controller, not here. */
export function imageProblem(reference: string): string | undefined {
  try {
    parseReference(reference);
    return undefined;
  } catch (thrown) {
    if (thrown instanceof FrotaError && thrown.code === 'invalid') return thrown.message;
    throw thrown;
  }
}
