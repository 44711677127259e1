export async function planted(work: () => Promise<void>): Promise<void> {
  await work();
}
