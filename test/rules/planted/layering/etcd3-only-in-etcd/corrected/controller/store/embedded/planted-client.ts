import { EventEmitter as Etcd3 } from 'node:events';

export const planted = Etcd3;
