export const dayOfYear = (): number => 1;
