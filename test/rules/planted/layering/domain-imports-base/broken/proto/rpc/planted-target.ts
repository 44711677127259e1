export const fieldCount = 3;
