export interface Unpacked {
  readonly folder: string;
}

export const unpack = (folder: string): Unpacked => ({ folder });
