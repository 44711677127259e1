/**
 * `frota drill-undo ORDER`: the process that undoes one fault, when its time has come, when it is told to by a datagram with
 * the order's key, or by SIGTERM. Started before the fault, out of reach of it: it lives in a control group of its own and
 * needs neither agent nor controller. Prints one line once its timer runs: `{"armed":true,"port":12345}`.
 */
import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { once } from 'node:events';
import { timingSafeEqual } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import { stopWord, undoneWord } from '../../proto/domain/drill-orders.ts';
import type { UndoOrder } from '../../proto/domain/drill.ts';
import { leaveAside, moveAside } from './own-cgroup.ts';
import { undo } from './undo.ts';
import { readOrder, readOutcome, undoDueInMs, writeOutcome } from './undo-files.ts';

/** Who asks once more because the answer was lost is answered for this long. */
const lingerMs = 1_500;

interface Told {
  readonly by: 'timer' | 'stop';
}

async function main(file: string): Promise<void> {
  const order = await readOrder(file);
  if (order === undefined) throw new FrotaError('invalid', `${file} is no order that can be read`);
  // The terminal, the agent and the session it was started from may go.
  for (const signal of ['SIGHUP', 'SIGINT'] as const) process.on(signal, () => undefined);
  process.stdout.on('error', () => undefined);
  const places = await moveAside();
  const socket = await listen();
  const askers: RemoteInfo[] = [];
  const told = awaitEnd(order, socket, askers);
  process.stdout.write(`${JSON.stringify({ armed: true, port: socket.address().port })}\n`);
  const { by } = await told;
  // The agent may have been first; to undo twice does no harm.
  const problems = await undo(order, places.home);
  if ((await readOutcome(file)) === undefined) await writeOutcome(file, { by, atMs: Date.now(), problems });
  const answer = Buffer.from(undoneWord + order.drillId);
  for (const { port, address } of askers) socket.send(answer, port, address);
  socket.on('message', (_message, { port, address }) => {
    socket.send(answer, port, address);
  });
  await sleep(lingerMs);
  socket.close();
  await leaveAside(places);
}

async function listen(): Promise<Socket> {
  // Both families, where the host has IPv6.
  for (const type of ['udp6', 'udp4'] as const) {
    const socket = createSocket(type);
    try {
      const listening = once(socket, 'listening');
      socket.bind(0);
      await listening;
      // A datagram that can't be sent is an answer that is missed, no more.
      socket.on('error', () => undefined);
      return socket;
    } catch {
      socket.close();
    }
  }
  throw new FrotaError('unavailable', 'no UDP port can be opened to hear when the drill is to stop');
}

function awaitEnd(order: UndoOrder, socket: Socket, askers: RemoteInfo[]): Promise<Told> {
  const wanted = Buffer.from(stopWord + order.stopKey);
  return new Promise((resolve) => {
    setTimeout(() => resolve({ by: 'timer' }), undoDueInMs(order, Date.now()));
    process.on('SIGTERM', () => resolve({ by: 'stop' }));
    socket.on('message', (message, sender) => {
      if (message.length !== wanted.length || !timingSafeEqual(message, wanted)) return;
      askers.push(sender);
      resolve({ by: 'stop' });
    });
  });
}

try {
  await main(process.argv[3] ?? '');
  process.exit();
} catch (error) {
  process.stderr.write(`frota drill-undo: ${describeError(error)}\n`);
  process.exit(1);
}
