export type Planted = unknown;
