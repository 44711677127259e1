import type { Command } from 'commander';
import { FrotaError } from '../../proto/base/errors.ts';

/** `controller` and `agent` are programs of their own, which `bin/frota` starts; here they are listed. */
export function registerSeparatePrograms(program: Command): void {
  const verbs = [
    ['controller', 'run a controller in the foreground (see: frota controller --help)'],
    ['agent', "run this machine's agent in the foreground (see: frota agent --help)"],
  ] as const;
  for (const [verb, description] of verbs) {
    program
      .command(verb)
      .description(description)
      .helpOption(false)
      .allowUnknownOption()
      .argument('[arguments...]')
      .action(() => {
        throw new FrotaError('unsupported', `"${verb}" is started by bin/frota, not by the command line's own program`);
      });
  }
}
