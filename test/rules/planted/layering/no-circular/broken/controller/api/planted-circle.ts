import { other } from './planted-circle-other.ts';

export const planted = (): number => other();
