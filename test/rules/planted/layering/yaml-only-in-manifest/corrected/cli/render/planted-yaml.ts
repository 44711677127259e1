import { inspect } from 'node:util';

export const planted = inspect;
