/** PURE: what a container's own process was given, and a request → the process that joins it, in OCI's terms. */
import { posix } from 'node:path';
import { FrotaError } from '../../../../proto/base/errors.ts';
import type { ExecRequest } from '../../runtime.ts';
import { resolveUser } from '../container-user.ts';
import type { OciSpec } from '../oci-spec.ts';

/** The container's files of users as they are now; the empty text where it has none. */
export interface UserFiles {
  readonly passwd: string;
  readonly group: string;
}

type OciProcess = OciSpec['process'];

/** As Docker: every terminal that people use understands it. */
const defaultTerm = 'xterm';

/** Throws `invalid` for an empty command and an unknown user. `users` is needed only where the request names one. */
export function execSpec(own: OciProcess, request: ExecRequest, users: UserFiles): OciProcess {
  if (request.args.length === 0) {
    throw new FrotaError('invalid', 'no command: say what to run in the container');
  }
  const terminal = request.tty === true;
  const user = request.user === undefined ? undefined : resolveUser(request.user, users.passwd, users.group);
  const defaults = [
    ...(terminal ? [`TERM=${defaultTerm}`] : []),
    ...own.env,
    // A home that was only the default of the other user is not this one's.
    ...(user !== undefined && hasDefaultHome(own, users) ? [`HOME=${user.home}`] : []),
  ];
  return {
    ...own,
    terminal,
    args: request.args,
    env: merge(defaults, request.environment ?? []),
    cwd: request.workingDir === undefined ? own.cwd : posix.resolve(own.cwd, request.workingDir),
    ...(user === undefined ? {} : { user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids } }),
  };
}

function hasDefaultHome(own: OciProcess, users: UserFiles): boolean {
  const home = own.env.find((each) => each.startsWith('HOME='));
  return home === `HOME=${resolveUser(String(own.user.uid), users.passwd, users.group).home}`;
}

/** The last value of a name counts, at the place of the first. */
function merge(...lists: readonly (readonly string[])[]): readonly string[] {
  const merged = new Map<string, string>();
  for (const entry of lists.flat()) merged.set(entry.split('=', 1)[0] ?? '', entry);
  return [...merged.values()];
}
