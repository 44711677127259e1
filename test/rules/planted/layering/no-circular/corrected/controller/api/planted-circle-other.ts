import { planted } from './planted-circle.ts';

export const other = (): number => Number(planted);
