import { longest } from '../../proto/domain/words.ts';

export const planted = longest;
