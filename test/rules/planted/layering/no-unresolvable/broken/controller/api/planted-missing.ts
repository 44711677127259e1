import { missing } from './nowhere.ts';

export const planted = missing;
