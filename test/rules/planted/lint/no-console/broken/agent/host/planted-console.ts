export const planted = (): void => {
  console.log('here');
};
