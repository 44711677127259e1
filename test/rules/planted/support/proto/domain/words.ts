import { idLength } from '../base/ids.ts';

export const longest = idLength;
