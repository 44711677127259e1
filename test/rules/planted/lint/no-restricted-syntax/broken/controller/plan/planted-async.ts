export async function planted(): Promise<number> {
  return 1;
}
