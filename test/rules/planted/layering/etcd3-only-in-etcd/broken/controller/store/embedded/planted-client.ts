import { Etcd3 } from 'etcd3';

export const planted = Etcd3;
