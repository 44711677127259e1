export const planted = (): void => {
  process.stdout.write('here');
};
