import { judge } from '../../controller/plan/judge.ts';

export const planted = judge;
