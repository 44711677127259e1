import type { Store } from '../../controller/store/store.ts';

export type Planted = Store;
