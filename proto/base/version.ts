/** The version of Frota, as in package.json; a unit test keeps the two equal. */
export const frotaVersion = '0.1.0';
