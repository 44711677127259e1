/** What runs in the tests' containers: tells its name and who asks, over HTTP (80), TCP (7000) and UDP (7001). */
import { createSocket } from 'node:dgram';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';

const name = process.argv[2] ?? '';
const datagramSources = new Set<string>();

createHttpServer((request, response) => {
  response.setHeader('connection', 'close');
  const seen = request.url === '/seen' ? [...datagramSources].join(' ') : (request.socket.remoteAddress ?? '');
  response.end(`${name} ${seen}\n`);
}).listen(80, '0.0.0.0');

createServer((socket) => {
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => socket.write(`${name} ${chunk.toString()}`));
}).listen(7000, '0.0.0.0');

const udp = createSocket('udp4');
udp.on('message', (_, source) => {
  datagramSources.add(source.address);
  udp.send(`${name} ${source.address}\n`, source.port, source.address);
});
udp.bind(7001, '0.0.0.0', () => process.stdout.write('ready\n'));
