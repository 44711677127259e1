import { fieldCount } from '../../proto/gen/messages.ts';

export const planted = fieldCount;
