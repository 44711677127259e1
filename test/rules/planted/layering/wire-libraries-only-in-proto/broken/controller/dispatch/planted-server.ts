import { Server } from '@grpc/grpc-js';

export const planted = Server;
