import { open } from 'node:fs/promises';

export const planted = open;
