import { encode } from 'dns-packet';

export const planted = encode;
