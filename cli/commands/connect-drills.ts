/** The calls about drills of the gRPC adapter: a drill that kills its controller is followed through to its end. */
import { setTimeout as sleep } from 'node:timers/promises';
import { FrotaError } from '../../proto/base/errors.ts';
import type { DrillProgress } from '../../proto/codec/drills.ts';
import type { Client } from '../../proto/rpc/client.ts';
import type { controlService } from '../../proto/rpc/service.ts';
import type { Control } from './control.ts';

/** In a row: together a minute, longer than any restart takes. */
const maxResumes = 120;
const resumePauseMs = 500;
/** The fault is undone at once; a node that was away has to be heard again, and the report waits for it. */
const stopDeadlineMs = 90_000;

type Ask = <T>(call: (options: { deadlineMs: number }) => Promise<T>, deadlineMs?: number) => Promise<T>;

export function drillCalls(
  client: Client<typeof controlService>,
  ask: Ask,
  connected: () => Promise<unknown>,
): Pick<Control, 'runDrill' | 'listDrills' | 'stopDrill'> {
  return {
    runDrill: async function* (request, signal) {
      await connected();
      yield* resumed(client.runDrill(request, { signal }), signal, (id) =>
        client.followDrill({ id, owner: true }, { signal }),
      );
    },
    listDrills: async (id, signal) => {
      const request = id === undefined ? {} : { id };
      return (await ask((options) => client.listDrills(request, { ...options, signal }))).drills;
    },
    stopDrill: async (id, signal) =>
      (await ask((options) => client.stopDrill({ id }, { ...options, signal }), stopDeadlineMs)).drill,
  };
}

async function* resumed(
  begun: AsyncIterable<DrillProgress>,
  signal: AbortSignal,
  follow: (id: string) => AsyncIterable<DrillProgress>,
): AsyncIterable<DrillProgress> {
  let stream = begun;
  let id: string | undefined;
  for (let failures = 0; ; failures += 1) {
    try {
      for await (const progress of stream) {
        failures = 0;
        if (progress.kind === 'drill') id = progress.drill.id;
        yield progress;
        if (progress.kind !== 'drill' || progress.drill.state === 'ended') return;
      }
    } catch (thrown) {
      const error = FrotaError.from(thrown);
      if (id === undefined || signal.aborted || error.code !== 'unavailable' || failures >= maxResumes) throw error;
    }
    if (id === undefined) return;
    await sleep(resumePauseMs, undefined, { signal }).catch(() => undefined);
    stream = follow(id);
  }
}
