export function planted(work: () => Promise<void>): void {
  work();
}
