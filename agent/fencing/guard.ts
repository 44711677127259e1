/**
 * The guard of a node's fenced tasks: a shell in a cgroup beside the agent's, so that nothing that kills, freezes or starves the
 * agent reaches it. It looks at the lease files ten times a second and kills what has no lease any more, again and again
 * until the file is gone. It needs nobody: it starts no program but `sleep`, and reads `/proc/uptime`.
 */
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { makeCgroup, procsFiles } from '../host/cgroups.ts';
import type { CgroupLayout } from '../host/cgroups.ts';
import { readCommandLine } from '../host/processes.ts';
import { bootClockStepMs, readBootMs } from './boot-clock.ts';

/** A look takes a millisecond or two and follows the last one after a tenth of a second. */
const staleMs = 700;
/** To start a shell and have it look once; a machine that can't do this within the time runs nothing fenced. */
const confirmWithinMs = 3_000;
const pollMs = 20;
/** Before most others: who is late here lets a task run too long. */
const guardNice = -10;
/** By which its process is known. */
const guardName = 'frota-guard';

/**
 * Arguments: the folder, then `cgroup.procs` of its own cgroup in each hierarchy. A later guard takes `pid` over, and an earlier one ends. A
 * lease file has three lines: until when (hundredths of a second since boot), the file that kills the cgroup at one stroke, and
 * a folder of the cgroup. Killed one by one as well, and thawed, as frozen processes of v1 die only then.
 */
const script = `
folder=$1; shift
for procs; do echo $$ >"$procs" || exit 1; done
cd "$folder" && echo $$ >pid || exit 1
while read -r owner <pid && [ "$owner" = $$ ]; do
  read -r uptime rest </proc/uptime || exit 1
  now=\${uptime%.*}\${uptime#*.}
  for lease in *.lease; do
    { read -r until && read -r killer && read -r group; } 2>/dev/null <"$lease" || continue
    [ "$now" -ge "$until" ] || continue
    [ -w "$killer" ] && echo 1 >"$killer"
    for procs in "$group"/cgroup.procs "$group"/*/cgroup.procs; do
      [ -r "$procs" ] || continue
      while read -r pid; do kill -KILL "$pid"; done <"$procs"
    done
    [ -w "$group/freezer.state" ] && echo THAWED >"$group/freezer.state"
  done
  echo "$now" >look
  sleep 0.1
done
`;

export interface GuardPlace {
  /** With the lease files; in memory, for the life of this boot. */
  readonly folder: string;
  /** Path of its cgroup, which nobody else lives in. */
  readonly cgroup: string;
  readonly layout: CgroupLayout;
  readonly logger: Logger;
}

export class Guard {
  readonly #place: GuardPlace;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(place: GuardPlace) {
    this.#place = place;
  }

  /** It has looked a moment ago. */
  get isAwake(): boolean {
    return this.#lastLookMs() + staleMs > readBootMs();
  }

  /** True once it has looked at the lease files as they are now; it is started if it does not run. False: it can't be. */
  async confirm(): Promise<boolean> {
    // One that is about to be killed looks awake, and would be waited for in vain.
    await this.#stopping;
    const sinceMs = readBootMs();
    if (!this.isAwake) await this.#start();
    while (readBootMs() < sinceMs + confirmWithinMs) {
      // A look is dated by its beginning, rounded down.
      if (this.#lastLookMs() > sinceMs + bootClockStepMs) return true;
      await sleep(pollMs);
    }
    this.#place.logger.error({ folder: this.#place.folder }, 'the guard of fenced tasks does not run');
    return false;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#end().finally(() => {
      this.#stopping = undefined;
    });
    return this.#stopping;
  }

  async #end(): Promise<void> {
    await this.#starting;
    const pid = Number(this.#read('pid'));
    if (pid > 0 && (await readCommandLine(pid)).includes(guardName)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
    // Its last look would pass for one of the next guard's.
    rmSync(join(this.#place.folder, 'look'), { force: true });
  }

  /** One at a time. */
  #start(): Promise<void> {
    this.#starting ??= this.#launch().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async #launch(): Promise<void> {
    const { folder, cgroup, layout, logger } = this.#place;
    try {
      await makeCgroup(layout, cgroup);
      const procs = procsFiles(layout, cgroup);
      const child = spawn('/bin/sh', ['-c', script, guardName, folder, ...procs], { detached: true, stdio: 'ignore' });
      child.on('error', (error) => {
        logger.error({ error: describeError(error) }, 'the guard of fenced tasks cannot be started');
      });
      child.unref();
      if (child.pid !== undefined) setPriority(child.pid, guardNice);
    } catch (error) {
      logger.error({ error: describeError(error) }, 'the guard of fenced tasks cannot be started');
    }
  }

  /** When its last look began; 0: never. */
  #lastLookMs(): number {
    return Number(this.#read('look')) * bootClockStepMs;
  }

  #read(name: string): string {
    try {
      return readFileSync(join(this.#place.folder, name), 'utf8').trim();
    } catch {
      return '';
    }
  }
}
