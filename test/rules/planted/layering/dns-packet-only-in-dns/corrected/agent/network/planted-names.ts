import { resolve4 as encode } from 'node:dns/promises';

export const planted = encode;
