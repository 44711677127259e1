/** Whether a registry knows us: GET /v2/ with the credentials (distribution-spec, "Determining Support"; `docker login`). */
import { FrotaError } from '../base/errors.ts';
import { Authorization, parseChallenges } from './authorization.ts';
import type { Credentials } from './authorization.ts';
import { insecureRegistries } from './insecure-registries.ts';
import { drain, headerOf, Transport } from './transport.ts';
import { transportFailure } from './transport-failure.ts';

/**
 * @throws FrotaError `unauthenticated` when it does not take them, `unavailable` when it can't be reached or fails; never
 * with the password.
 */
export async function checkLogin(
  registry: string,
  credentials: Credentials,
  options: { readonly insecureRegistries: readonly string[]; readonly signal: AbortSignal },
): Promise<void> {
  const transport = new Transport(insecureRegistries(options.insecureRegistries));
  try {
    await check(transport, registry, credentials, options.signal);
  } catch (error) {
    if (error instanceof FrotaError) throw error;
    const { reason, isTrust } = transportFailure(error);
    const hint =
      isTrust === true ? '; if that is meant, name it to controller and agents with --insecure-registry' : '';
    throw new FrotaError('unavailable', `registry ${registry} can't be asked: ${reason}${hint}`, { cause: error });
  } finally {
    await transport.close();
  }
}

async function check(
  transport: Transport,
  registry: string,
  credentials: Credentials,
  signal: AbortSignal,
): Promise<void> {
  const authorization = new Authorization(transport, () => Promise.resolve(credentials));
  const ask = (headers: Readonly<Record<string, string>>) =>
    transport.askRegistry(registry, '/v2/', { method: 'GET', headers, signal });
  let response = await ask({});
  await drain(response.body);
  if (response.status === 401) {
    const challenges = parseChallenges(headerOf(response, 'www-authenticate') ?? '');
    const header = await authorization.answer(challenges, { registry, repository: '', credentials, signal });
    if (header === undefined) {
      throw new FrotaError(
        'unsupported',
        `registry ${registry} asks for a way to log in that this version does not know`,
      );
    }
    response = await ask({ authorization: header });
    await drain(response.body);
  }
  if (response.status === 200) return;
  const status = `HTTP status ${String(response.status)}`;
  if (response.status === 401 || response.status === 403) {
    const user = JSON.stringify(credentials.username);
    throw new FrotaError(
      'unauthenticated',
      `registry ${registry} does not take this password of user ${user} (${status})`,
    );
  }
  throw new FrotaError('unavailable', `registry ${registry} does not answer as a registry does (${status})`);
}
