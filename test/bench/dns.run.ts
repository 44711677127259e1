/** Questions a second that one name server answers, with 1,000 services of 3, asked over loopback by the same process. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { createDnsServer } from '../../agent/dns/dns-server.ts';
import { silentLogger } from '../../proto/base/log.ts';
import { aService, endpoint, inShop, network, question } from '../unit/dns/fixture.ts';

const seconds = Number(process.env['SECONDS_EACH'] ?? '3');
const inFlight = 64;

const services = Array.from({ length: 1_000 }, (_, index) => {
  const list = [1, 2, 3].map((slot) => endpoint(slot, `10.${64 + slot}.${index >> 8}.${index & 255}`));
  return aService({ name: `web${index}`, vip: `10.96.${index >> 8}.${index & 255}`, endpoints: list, members: list });
});

it.each(['web500', 'tasks.web500', 'nobody'])('%s', async (name) => {
  const server = createDnsServer({
    address: '127.0.0.1',
    port: 10_053,
    resident: (address) => ({ taskId: 't', address, namespace: '', place: inShop }),
    logger: silentLogger,
  });
  const madeAt = performance.now();
  server.apply(network, services);
  const tableMs = performance.now() - madeAt;
  await server.open();
  const client = createSocket('udp4');
  client.connect(10_053, '127.0.0.1');
  await once(client, 'connect');
  const packet = question(name);
  let answered = 0;
  client.on('message', () => {
    answered += 1;
    client.send(packet);
  });
  const before = process.cpuUsage();
  const startedAt = performance.now();
  for (let index = 0; index < inFlight; index += 1) client.send(packet);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  const cpu = process.cpuUsage(before);
  const rate = answered / ((performance.now() - startedAt) / 1_000);
  const cpuEach = (cpu.user + cpu.system) / answered;
  process.stdout.write(
    `${name}: ${rate.toFixed(0)} answers a second, ${cpuEach.toFixed(0)} µs CPU each, client included; table made in ${tableMs.toFixed(0)} ms\n`,
  );
  client.close();
  await server.close();
  expect(answered).toBeGreaterThan(0);
});
