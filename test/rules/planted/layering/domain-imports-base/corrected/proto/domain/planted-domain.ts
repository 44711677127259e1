import { idLength } from '../base/ids.ts';

export const planted = idLength;
