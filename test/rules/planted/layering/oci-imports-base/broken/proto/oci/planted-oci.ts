import { longest } from '../domain/words.ts';

export const planted = longest;
