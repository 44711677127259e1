import { nanoid } from 'nanoid';

export const planted = nanoid;
