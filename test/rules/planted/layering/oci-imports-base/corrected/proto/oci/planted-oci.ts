import { request } from 'undici';
import { idLength } from '../base/ids.ts';
import { createHash } from 'node:crypto';

export const planted = [request, idLength, createHash];
