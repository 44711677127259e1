export interface Images {
  readonly count: number;
}
