/** PURE: a runtime's words about a container it refused → an error a person can act on. */
import { FrotaError } from '../../../proto/base/errors.ts';
import type { ContainerSpec } from '../runtime.ts';

/** A person is told of their command, not of the runtime's. */
export function createFailure(spec: ContainerSpec, error: FrotaError): FrotaError {
  if (error.code !== 'invalid') return error;
  const command = JSON.stringify(spec.args[0] ?? '');
  const words = runtimeWords(error.message);
  // The rest of the runtime's log lines says nothing to anybody.
  const cause = new FrotaError(error.code, words);
  switch (commandFault(words)) {
    case 'not-found':
      return new FrotaError(
        'invalid',
        `exec ${command} not found in image; correct the service's command or entrypoint`,
        { cause },
      );
    case 'not-executable':
      return new FrotaError('invalid', `exec ${command} is no executable file in the image; correct the command`, {
        cause,
      });
    case undefined:
      return new FrotaError('unavailable', `the container could not be made: ${words}`, { cause });
  }
}

/**
 * Runtimes report by text only, so this is the one place that reads it: runc's `exec: "x": executable file not found
 * in $PATH`, crun's "executable file `x` not found", and the kernel's words for a path that is wrong.
 */
export function commandFault(words: string): 'not-found' | 'not-executable' | undefined {
  if (/executable file .*not found|exec.*: (no such file or directory|stat .*no such file)/i.test(words)) {
    return 'not-found';
  }
  if (/exec.*: (permission denied|is a directory|operation not permitted)/i.test(words)) return 'not-executable';
  return undefined;
}

/** What a runtime says is wrong, out of its log lines (`time="…" level=error msg="…"`); the text itself if it has none. */
export function runtimeWords(text: string): string {
  const messages = [...text.matchAll(/level=error msg=("(?:[^"\\]|\\.)*")/g)].map((match) => unquote(match[1] ?? ''));
  return messages.length === 0 ? text : messages.join('; ');
}

/** Go quotes like JSON, for all that is printable. */
function unquote(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    return text;
  }
}
