import { removeContext, upsertContext } from '../contexts/contexts-file.ts';
import type { ContextEntry, ControlClient, Contexts } from '../local/index.ts';
import type { Host } from './host.ts';

/** `cluster up` joins its nodes at once; a token that leaks later is worth nothing. */
const joinTokenTtlSeconds = 600;

/** The person's contexts, as `cli/local` uses them. */
export function localContexts(folder: string): Contexts {
  return {
    save: ({ name, ...context }) => upsertContext(folder, name, context),
    remove: (name) => removeContext(folder, name),
  };
}

/** The few calls that `cli/local` makes; the connection is opened by the first of them. */
export function localControl(host: Host, entry: ContextEntry): ControlClient {
  const { addresses, ca, certificate, key, registry } = entry;
  const opening = host.connect({ addresses, ca, certificate, key, registry });
  // A context that can't be used fails each call below; nobody needs to hear of it before.
  opening.catch(() => undefined);
  return {
    createJoinToken: async (signal) => (await (await opening).createJoinToken(joinTokenTtlSeconds, signal)).token,
    listNodes: async (signal) => (await opening).listNodes(signal),
    close: () => {
      void opening.then(
        (control) => {
          control.close();
        },
        () => undefined,
      );
    },
  };
}

/** Lines of progress on standard error. */
export const progressTo = (host: Host) => (line: string) => {
  host.terminal.err(`${host.terminal.errColours.dim(line)}\n`);
};
