export const columns = ['name'];
