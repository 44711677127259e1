import { idLength } from '../../proto/base/ids.ts';

export const planted = idLength;
