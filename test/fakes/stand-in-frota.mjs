// Stands in for `bin/frota` where only starting, watching and removing of programs is under test: a `controller` that opens its
// ports and writes its admin context, an `agent` that notes how it was started. Neither orchestrates anything.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

const [verb, ...rest] = process.argv.slice(2);
const flags = Object.fromEntries(
  rest.flatMap((word, at) => (word.startsWith('--') ? [[word.slice(2), rest[at + 1]]] : [])),
);
mkdirSync(flags.data, { recursive: true });

if (verb === 'controller') {
  const addresses = [flags.listen, flags['join-listen']];
  for (const address of addresses) {
    const [host, port] = address.split(':');
    createServer((socket) => socket.end()).listen(Number(port), host);
  }
  writeFileSync(
    join(flags.data, 'admin-context.json'),
    JSON.stringify({ addresses, ca: 'ca', certificate: 'cert', key: 'key' }),
  );
} else {
  mkdirSync(flags.run, { recursive: true });
  writeFileSync(
    join(flags.data, 'started.json'),
    JSON.stringify({ flags, token: process.env.FROTA_TOKEN ?? null, pid: process.pid }),
  );
}
process.on('SIGTERM', () => process.exit(0));
setInterval(() => undefined, 60_000);
