import { columns } from '../commands/list.ts';

export const planted = columns;
