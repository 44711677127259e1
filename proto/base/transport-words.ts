/** grpc-js ends what it says of a connection that did not come about with a note, also where it has none. The text without it. */
export const withoutEmptyNote = (text: string): string =>
  text.replace(/( Last error: null\.)? Resolution note: $/u, '');
