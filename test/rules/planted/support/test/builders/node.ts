export const node = { name: 'n1' };
