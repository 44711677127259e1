export function planted(): number {
  return 1;
}
