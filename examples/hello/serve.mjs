// An HTTP server that leaves politely: told to stop, it goes on answering, with `Connection: close`, until nobody is
// connected any more or two seconds have passed. Nobody new is sent here by then; who holds a connection gets his answer.
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

const drainLimitMs = 2_000;
/** Without any connection for this long, nobody is on the way here any more. */
const quietMs = 100;
const pollMs = 25;

/** `answer(request)` returns `{ status, body }`; a body is sent as JSON. `/healthz` is answered here. */
export function serve(port, answer) {
  let stopping = false;
  const server = createServer((request, response) => {
    void respond(request, response, answer, () => stopping);
  });
  server.listen(port, '0.0.0.0', () => console.log(`listening on port ${server.address().port}`));
  const stop = () => {
    if (stopping) return;
    stopping = true;
    void drain(server).then(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  return server;
}

async function respond(request, response, answer, isStopping) {
  const path = (request.url ?? '/').split('?')[0];
  let result = { status: 404, body: { error: `nothing at ${path}` } };
  try {
    if (path === '/healthz') result = { status: 200, body: { healthy: true } };
    else if (path === '/') result = await answer(request);
  } catch (error) {
    result = { status: 500, body: { error: error.message } };
  }
  response.writeHead(result.status, {
    'Content-Type': 'application/json',
    ...(isStopping() ? { Connection: 'close' } : {}),
  });
  response.end(`${JSON.stringify(result.body)}\n`);
}

async function drain(server) {
  let quietForMs = 0;
  for (let waitedMs = 0; waitedMs < drainLimitMs && quietForMs < quietMs; waitedMs += pollMs) {
    await delay(pollMs);
    const open = await new Promise((resolve) => server.getConnections((_, count) => resolve(count)));
    quietForMs = open === 0 ? quietForMs + pollMs : 0;
  }
}
