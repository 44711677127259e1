export function planted(kind: 'a' | 'b'): void {
  switch (kind) {
    case 'a':
    case 'b':
      return;
  }
}
