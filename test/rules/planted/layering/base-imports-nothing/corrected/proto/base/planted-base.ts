import { idLength } from './ids.ts';

export const planted = idLength;
