export const idLength = 12;
