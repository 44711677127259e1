export function readMetadata(): number {
  return 1;
}
