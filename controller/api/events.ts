/** The history as people ask for it: filtered, and followed. */
import type { ListEventsReply, ListEventsRequest } from '../../proto/codec/events.ts';
import { FrotaError } from '../../proto/base/errors.ts';
import type { ClusterEvent } from '../../proto/domain/event.ts';
import { isServiceName, isSlotName, isTaskId } from '../plan/resolve-task.ts';

export interface EventPorts {
  /** Oldest first. */
  readonly readEvents: () => Promise<readonly ClusterEvent[]>;
  readonly onEvents: (listener: (events: readonly ClusterEvent[]) => void) => () => void;
  readonly nowMs: () => number;
}

/** In one message, far below the transport's limit. */
const maxEventsPerReply = 500;
/** A follower that reads so slowly that this many wait is told to come again. */
const maxWaiting = 20_000;

export async function* listEvents(
  ports: EventPorts,
  request: ListEventsRequest,
  signal: AbortSignal,
): AsyncIterable<ListEventsReply> {
  const queue = { waiting: [] as ClusterEvent[], overflow: false };
  let ring: () => void = () => undefined;
  const wake = (): void => {
    ring();
  };
  // Listens before it reads, so that nothing falls between the two.
  const off = ports.onEvents((events) => {
    queue.overflow ||= queue.waiting.length + events.length > maxWaiting;
    if (!queue.overflow) queue.waiting.push(...events);
    wake();
  });
  signal.addEventListener('abort', wake, { once: true });
  try {
    const wanted = eventFilter(request, ports.nowMs());
    const all = await ports.readEvents();
    const kept = all.filter(wanted);
    const history = request.last === undefined ? kept : kept.slice(Math.max(0, kept.length - request.last));
    for (let at = 0; at < history.length; at += maxEventsPerReply) {
      yield { events: history.slice(at, at + maxEventsPerReply) };
    }
    let last = all.at(-1)?.sequence ?? 0;
    // Also when there was nothing to tell: who follows goes on from here if this controller stops.
    if (request.follow) yield { events: [], through: last };
    while (request.follow && !signal.aborted) {
      if (queue.overflow)
        throw new FrotaError('exhausted', 'too slow for what happens in the cluster; ask again with a filter');
      const events = queue.waiting.filter((event) => event.sequence > last && wanted(event));
      queue.waiting = [];
      last = events.at(-1)?.sequence ?? last;
      for (let at = 0; at < events.length; at += maxEventsPerReply) {
        yield { events: events.slice(at, at + maxEventsPerReply) };
      }
      await new Promise<void>((resolve) => {
        ring = resolve;
        // Something may have come while this was being read.
        if (signal.aborted || queue.waiting.length > 0) resolve();
      });
    }
  } finally {
    off();
    signal.removeEventListener('abort', wake);
  }
}

/** PURE. */
export function eventFilter(request: ListEventsRequest, nowMs: number): (event: ClusterEvent) => boolean {
  const { subject, sinceAgoMs, untilAgoMs, afterSequence = 0 } = request;
  return (event) =>
    event.sequence > afterSequence &&
    (sinceAgoMs === undefined || event.atMs >= nowMs - sinceAgoMs) &&
    (untilAgoMs === undefined || event.atMs < nowMs - untilAgoMs) &&
    (subject === undefined || isAbout(event, subject));
}

/** Services and slots with or without their stack, tasks also by the beginning of their id. */
function isAbout({ stack, service, slot, taskId, node }: ClusterEvent, subject: string): boolean {
  if (subject === stack || subject === node) return true;
  if (taskId !== undefined && isTaskId(subject, taskId)) return true;
  if (stack === undefined || service === undefined) return false;
  return isServiceName(subject, stack, service) || (slot !== undefined && isSlotName(subject, stack, service, slot));
}
