export const dateHelper = (): number => 1;
