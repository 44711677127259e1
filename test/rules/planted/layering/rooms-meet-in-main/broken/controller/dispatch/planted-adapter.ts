import { firstRevision } from '../store/store.ts';

export const planted = firstRevision;
