/** What an agent needs that is not installed, told with the command that installs it. */
import { FrotaError } from '../../proto/base/errors.ts';

/** Debian package of each program the agent may call; the key is the program's name. */
const debianPackages: Readonly<Record<string, string>> = {
  runc: 'runc',
  crun: 'crun',
  conmon: 'conmon',
  nft: 'nftables',
  ip: 'iproute2',
  bridge: 'iproute2',
  tc: 'iproute2',
  nsenter: 'util-linux',
  bwrap: 'bubblewrap',
  tar: 'tar',
  igzip: 'isal',
  zstd: 'zstd',
  conntrack: 'conntrack',
  mount: 'mount',
  umount: 'mount',
  sysctl: 'procps',
};

/** What is wanted but not in PATH, with the Debian package that has it (the program's own name if unknown). */
export interface MissingProgram {
  readonly program: string;
  readonly debianPackage: string;
}

export const asMissing = (program: string): MissingProgram => ({
  program,
  debianPackage: debianPackages[program] ?? program,
});

export function missingProgramsError(missing: readonly MissingProgram[]): FrotaError {
  const names = missing.map((each) => each.program).join(', ');
  const packages = [...new Set(missing.map((each) => each.debianPackage))].sort().join(' ');
  const problems = missing.map(({ program, debianPackage }) => ({
    where: program,
    message: `not found in PATH; it is in the Debian package ${debianPackage}`,
  }));
  const noun = missing.length === 1 ? 'program' : 'programs';
  return new FrotaError('unsupported', `missing ${noun}: ${names}; run: apt-get install ${packages}`, { problems });
}
