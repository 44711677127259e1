export interface Store {
  readonly revision: number;
}

export const firstRevision = 1;
