export const planted = (random: number): number => random;
