/**
 * Child process: the load of the failover benchmark from within a network namespace. Asks one name of Docker's own server before
 * each request, as a client of a service without a VIP does. Ends when its input ends, and says what it has seen as one JSON.
 */
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { monotonicMs, startLoad } from '../../cluster/load.ts';

const [url = '', perSecond = '', answerWithinMs = ''] = process.argv.slice(2);
const resolver = new Resolver({ timeout: Number(answerWithinMs), tries: 1 });
resolver.setServers(['127.0.0.11']);

const load = startLoad({
  urls: [url],
  perSecond: Number(perSecond),
  connections: 'new',
  answerWithinMs: Number(answerWithinMs),
  addressOf: async (name) => {
    const addresses = await resolver.resolve4(name);
    const chosen = addresses[Math.floor(Math.random() * addresses.length)];
    if (chosen === undefined) throw new Error(`no address for ${name}`);
    return chosen;
  },
});
process.stdin.resume();
await once(process.stdin, 'end');
const { sent, answered, firstAnswerAtMs, failedAtMs, failures } = await load.stop();
// Between processes only the machine's own clock means the same.
const ahead = monotonicMs() - performance.now();
process.stdout.write(
  JSON.stringify({
    sent,
    answered,
    failures,
    failedAtMs: failedAtMs.map((atMs) => atMs + ahead),
    firstAnswerAtMs: [...firstAnswerAtMs].map(([host, atMs]) => [host, atMs + ahead]),
  }),
);
