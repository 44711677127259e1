import { columns } from './list.ts';

export const planted = columns;
