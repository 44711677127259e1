import { fieldCount } from '../rpc/planted-target.ts';

export const planted = fieldCount;
