/** Where this installation of Frota lies, so that programs of it can be started from any folder. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FrotaError } from '../../proto/base/errors.ts';

export interface Installation {
  readonly root: string;
  /** `bin/frota`. */
  readonly program: string;
  /** The built `cli/local/main.ts`. */
  readonly supervisor: string;
}

/** From this file, built or not, upwards to the package's root. @throws FrotaError `internal`, `unsupported` (not built) */
export function findInstallation(): Installation {
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== dirname(folder); folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (!existsSync(manifest) || !readFileSync(manifest, 'utf8').includes('"name": "frota"')) continue;
    const supervisor = join(folder, 'dist/cli/local/main.js');
    if (existsSync(supervisor)) return { root: folder, program: join(folder, 'bin/frota'), supervisor };
    throw new FrotaError('unsupported', `${supervisor} is missing; run "npm run build" in ${folder}`);
  }
  throw new FrotaError('internal', `no package.json of Frota above ${fileURLToPath(import.meta.url)}`);
}
