// Counts how often it was asked, in memory: a replaced counter begins again at one.
import { hostname } from 'node:os';
import { serve } from '../serve.mjs';

let count = 0;

serve(Number(process.env.PORT ?? 8000), async () => {
  count += 1;
  return { status: 200, body: { service: 'counter', host: hostname(), count } };
});
