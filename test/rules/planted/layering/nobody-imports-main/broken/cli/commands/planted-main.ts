import { version } from '../main.ts';

export const planted = version;
