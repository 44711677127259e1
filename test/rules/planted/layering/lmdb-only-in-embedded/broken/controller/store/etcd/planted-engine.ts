import { open } from 'lmdb';

export const planted = open;
