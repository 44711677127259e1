import { assert } from 'fast-check';

export const planted = assert;
