import { once as noop } from 'node:events';

export const planted = noop;
