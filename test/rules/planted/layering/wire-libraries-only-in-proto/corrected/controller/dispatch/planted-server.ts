import { createServer } from 'node:net';

export const planted = createServer;
