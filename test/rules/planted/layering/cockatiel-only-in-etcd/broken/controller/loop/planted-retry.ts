import { noop } from 'cockatiel';

export const planted = noop;
