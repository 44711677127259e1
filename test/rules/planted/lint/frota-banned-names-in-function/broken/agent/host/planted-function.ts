export function readData(): number {
  return 1;
}
