export const judge = (silentMs: number): boolean => silentMs > 600;
