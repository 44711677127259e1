// Greets, and says who answers, whom, and what the counter said.
import { get } from 'node:http';
import { hostname } from 'node:os';
import { serve } from '../serve.mjs';

const counterUrl = process.env.COUNTER_URL ?? 'http://counter:8000/';
/** A counter that is just being replaced must not hold up the page. */
const counterTimeoutMs = 1_000;

serve(Number(process.env.PORT ?? 8080), async (request) => ({
  status: 200,
  body: {
    service: 'web',
    greeting: process.env.GREETING ?? 'hello',
    host: hostname(),
    client: request.socket.remoteAddress,
    ...(await askCounter()),
  },
}));

/** Every time by a new connection, so that it reaches whichever counter there is now. */
function askCounter() {
  return new Promise((resolve) => {
    const failed = (error) => resolve({ count: null, counter: error.message });
    const question = get(counterUrl, { agent: false, timeout: counterTimeoutMs }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => (text += chunk));
      response.on('error', failed);
      response.on('end', () => {
        try {
          const { count, host } = JSON.parse(text);
          resolve({ count, counter: host });
        } catch (error) {
          failed(error);
        }
      });
    });
    question.on('timeout', () => question.destroy(new Error(`no answer from ${counterUrl} in ${counterTimeoutMs} ms`)));
    question.on('error', failed);
  });
}
