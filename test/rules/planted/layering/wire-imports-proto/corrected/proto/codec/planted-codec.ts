import { fieldCount } from '../gen/messages.ts';

export const planted = fieldCount;
