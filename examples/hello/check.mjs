// The health check of both services: asks the server in this container. Its last line says what is wrong.
import { get } from 'node:http';

const port = Number(process.argv[2]);
const failed = (message) => {
  console.log(message);
  process.exit(1);
};

get({ host: '127.0.0.1', port, path: '/healthz', agent: false }, (response) => {
  if (response.statusCode === 200) process.exit(0);
  failed(`/healthz answers ${response.statusCode}`);
}).on('error', (error) => failed(error.message));
