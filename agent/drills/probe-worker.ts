/**
 * The probe's thread: asks at a stated rate whether or not answers come (open loop), and tries each task that comes up until
 * it answers. A thread of its own, so that what the agent does meanwhile does not look like a service that fails.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { setTimeout as sleep } from 'node:timers/promises';
import { ask } from './ask.ts';
import type { FromProbe, ProbeStart, ToProbe } from './probe-messages.ts';
import { TallyKeeper } from './probe-tally.ts';

/** A new task is tried again after this long, and given up in favour of a new try when it says nothing for the other. */
const endpointPauseMs = 10;
const endpointTryMs = 250;
const maxSleepMs = 10;

const start = workerData as ProbeStart;
const port = parentPort;
if (port === null) throw new Error('the probe is a worker thread');
const { kind, path } = start;
const beganAtMs = performance.now();
const nowMs = (): number => performance.now() - beganAtMs;
const keeper = new TallyKeeper();
const due = new Set<Promise<void>>();
let isOver = false;
let known: Set<string> | undefined;

async function askAtRate(): Promise<void> {
  for (let sent = 0; !isOver && nowMs() < start.atMostMs;) {
    // What a stall of this thread held up is sent now: the rate is the clock's, not the timer's.
    const dueCount = Math.floor((nowMs() * start.perSecond) / 1_000);
    for (; sent < dueCount; sent += 1) {
      const target = start.targets[sent % start.targets.length];
      if (target !== undefined) one(target);
    }
    await sleep(Math.min(maxSleepMs, 500 / start.perSecond));
  }
}

function one({ host, port: targetPort }: ProbeStart['targets'][number]): void {
  const sentAtMs = nowMs();
  keeper.sent();
  const asking = ask({ kind, path, host, port: targetPort }).then((ending) => {
    keeper.ended(ending, sentAtMs, nowMs());
    due.delete(asking);
  });
  due.add(asking);
}

async function untilAnswered(taskId: string, host: string): Promise<void> {
  while (!isOver) {
    const ending = await ask({ kind, path, host, port: start.containerPort }, endpointTryMs);
    if (ending.kind === 'answered') {
      keeper.endpointAnswered(taskId, nowMs());
      return;
    }
    await sleep(endpointPauseMs);
  }
}

async function count(end: boolean): Promise<void> {
  if (end && !isOver) {
    isOver = true;
    await asking;
    // Each ends within its own time.
    await Promise.all(due);
  }
  const message: FromProbe = { kind: 'tally', tally: keeper.tally(nowMs()) };
  port?.postMessage(message);
}

port.on('message', (message: ToProbe) => {
  switch (message.kind) {
    case 'serving': {
      // Those that are there at the first time were there before the fault.
      const before = known;
      known = new Set(message.endpoints.map(({ taskId }) => taskId));
      if (before === undefined) return;
      for (const { taskId, address } of message.endpoints) {
        if (!before.has(taskId) && keeper.inForce(taskId, nowMs())) void untilAnswered(taskId, address);
      }
      return;
    }
    case 'count':
      void count(message.end);
  }
});

const asking = askAtRate();
const ready: FromProbe = { kind: 'asking' };
port.postMessage(ready);
