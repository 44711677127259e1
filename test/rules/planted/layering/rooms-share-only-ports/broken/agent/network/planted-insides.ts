import type { Unpacked } from '../images/unpack.ts';

export type Planted = Unpacked;
