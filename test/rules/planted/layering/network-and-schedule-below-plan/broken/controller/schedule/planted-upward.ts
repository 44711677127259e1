import { judge } from '../plan/judge.ts';

export const planted = judge;
