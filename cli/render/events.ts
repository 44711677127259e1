import type { ClusterEvent } from '../../proto/domain/event.ts';
import type { Colours } from './colours.ts';
import { printable } from './text.ts';

/** `2026-11-24T10:00:00.123Z  task.failed  hello/web.2 on n1: exited with code 1 (follows …)` */
export function eventLine(event: ClusterEvent, colours: Colours): string {
  const { atMs, kind, message, cause, by } = event;
  const tail = [...(cause === undefined ? [] : [cause]), ...(by === undefined ? [] : [`by ${by}`])].join('; ');
  const what = `${subjectText(event)}: ${message}${tail === '' ? '' : ` (${tail})`}`;
  return `${colours.dim(new Date(atMs).toISOString())}  ${paintKind(kind.padEnd(kindWidth), colours)}  ${printable(what)}`;
}

/** The longest kinds people meet often. */
const kindWidth = 17;

function subjectText({ stack, service, slot, taskId, node }: ClusterEvent): string {
  const name = [stack, service].filter((part) => part !== undefined).join('/');
  const full = slot === undefined ? name : `${name}.${String(slot)}`;
  if (full === '') return node ?? taskId ?? 'controller';
  return node === undefined ? full : `${full} on ${node}`;
}

const bad = /failed|rejected|orphaned|unhealthy|down|paused|rolled-back|rolling-back/u;
const good = /running|healthy|ready|completed|complete|joined/u;

function paintKind(kind: string, colours: Colours): string {
  if (bad.test(kind)) return colours.red(kind);
  return good.test(kind) ? colours.green(kind) : colours.yellow(kind);
}
