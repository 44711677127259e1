/** PURE: a runtime's words about a command it could not start → what a person is told, as a shell would. */
import { FrotaError } from '../../../../proto/base/errors.ts';
import { commandFault, runtimeWords } from '../create-failure.ts';
import type { ExecRequest } from '../../runtime.ts';

/** POSIX shells: found, but it can't be executed; not found. */
const exitCodes = { 'not-executable': 126, 'not-found': 127 } as const;

/** A command's fault is an exit code with a line of output, as in a shell; anything else is thrown by the caller. */
export function execFailure(
  text: string,
  request: ExecRequest,
): { readonly exitCode: number; readonly output: string } | FrotaError {
  const words = runtimeWords(text.trim());
  const command = JSON.stringify(request.args[0] ?? '');
  if (/chdir to cwd|(working|current) directory/i.test(words)) {
    const folder = JSON.stringify(request.workingDir ?? '');
    return new FrotaError('invalid', `working folder ${folder} can't be entered in the container: ${words}`);
  }
  switch (commandFault(words)) {
    case 'not-found':
      return { exitCode: exitCodes['not-found'], output: `exec ${command}: not found in the container\n` };
    case 'not-executable':
      return { exitCode: exitCodes['not-executable'], output: `exec ${command}: no executable file\n` };
    case undefined:
      return new FrotaError(
        'unavailable',
        `the command could not be started in the container: ${words === '' ? 'the runtime ended without a word' : words}`,
      );
  }
}
