/** Adapter: watches the uplink and gives it back the routes that went with its link. */
import { readFile, readlink, rm } from 'node:fs/promises';
import { describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { run } from '../host/programs.ts';
import { readJson, writeJsonDurably } from './durable-json.ts';
import { parseReading, readingLines } from './overlay-reading.ts';
import type { NetworkReading, RouteJson } from './overlay-reading.ts';
import { decideUplink, findUplink, observeUplink, routeFingerprint, routeLine } from './uplink.ts';
import type { ObservedUplink, RememberedUplink } from './uplink.ts';

/** The routes of a link that came back may be refused while the kernel still sets up its subnet; then they never will be accepted. */
const maxRestoreAttempts = 20;
/** Without any device to ask, containers get what fits the internet's usual 1500. */
export const usualMtu = 1500;

export class UplinkGuard {
  readonly #path: string;
  readonly #nodeAddress: string;
  readonly #logger: Logger;
  #remembered: RememberedUplink | undefined;
  #loaded = false;
  #seenDown = false;
  #restoreAttempts = 0;
  #mtu = usualMtu;
  #device: string | undefined;

  constructor(path: string, nodeAddress: string, logger: Logger) {
    this.#path = path;
    this.#nodeAddress = nodeAddress;
    this.#logger = logger;
  }

  get mtu(): number {
    return this.#mtu;
  }

  /** A cheap reading that changes whenever a check is worthwhile. */
  async fingerprint(): Promise<string> {
    return routeFingerprint(await readFile('/proc/net/route', 'utf8'), this.#device ?? '');
  }

  /**
   * Restores what is missing. `cameBack`: the link is up now and was not, or routes had to be restored;
   * `settled`: false means: check again soon, whatever the fingerprint says.
   */
  async check(): Promise<{ readonly cameBack: boolean; readonly settled: boolean }> {
    const observed = await this.#observe();
    if (observed === undefined) return { cameBack: false, settled: true };
    const remembered = await this.#load();
    const { restore, remember } = decideUplink(remembered, observed, this.#seenDown);
    if (remember === undefined) {
      if (!this.#seenDown) this.#logger.warn({ device: observed.identity.device }, 'the uplink is down');
      this.#seenDown = true;
      return { cameBack: false, settled: true };
    }
    if (restore.length > 0 && !(await this.#restore(restore))) {
      this.#restoreAttempts += 1;
      if (this.#restoreAttempts < maxRestoreAttempts) return { cameBack: false, settled: false };
    }
    const cameBack = this.#seenDown || restore.length > 0;
    this.#seenDown = false;
    this.#restoreAttempts = 0;
    if (JSON.stringify(remember) !== JSON.stringify(remembered)) await writeJsonDurably(this.#path, remember);
    this.#remembered = remember;
    return { cameBack, settled: true };
  }

  async forget(): Promise<void> {
    await rm(this.#path, { force: true });
    this.#remembered = undefined;
  }

  async #observe(): Promise<ObservedUplink | undefined> {
    const reading = await readNetwork();
    const link = findUplink(reading, this.#nodeAddress);
    this.#device = link?.ifname ?? this.#device;
    if (link === undefined) return undefined;
    this.#mtu = link.mtu;
    const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    const namespace = await readlink('/proc/self/ns/net');
    return observeUplink(link, reading.routes, { bootId, namespace });
  }

  async #load(): Promise<RememberedUplink | undefined> {
    if (!this.#loaded) {
      const stored = (await readJson(this.#path)) as RememberedUplink | undefined;
      this.#remembered = stored?.version === 1 ? stored : undefined;
      this.#loaded = true;
    }
    return this.#remembered;
  }

  async #restore(routes: readonly RouteJson[]): Promise<boolean> {
    const shown = routes.map(routeLine);
    try {
      await run('ip', ['-batch', '-'], { input: `${shown.join('\n')}\n` });
      this.#logger.info({ routes: shown }, 'restored the routes that went with the link');
      return true;
    } catch (error) {
      this.#logger.warn({ routes: shown, error: describeError(error) }, 'routes that went with the link are refused');
      return false;
    }
  }
}

/** The node's devices, permanent neighbours and routes, in one call. */
export async function readNetwork(): Promise<NetworkReading> {
  const args = ['-json', '-details', '-statistics', '-statistics', '-batch', '-'];
  const { stdout } = await run('ip', args, { input: `${readingLines.join('\n')}\n` });
  return parseReading(stdout);
}
