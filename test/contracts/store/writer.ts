/** Child process of the SIGKILL test: writes pairs that belong together and says which are acknowledged. */
import { openEmbeddedStore } from '../../../controller/store/embedded/embedded-store.ts';

const [folder = '', start = '0'] = process.argv.slice(2);
const store = openEmbeddedStore(folder);
const writers = Array.from({ length: 4 }, async (_, writer) => {
  for (let n = Number(start); ; n += 1) {
    const value = Buffer.from(`${String(writer)}:${String(n)}`.padEnd(n % 5 === 0 ? 6_000 : 300, '.'));
    await store.commit([
      {
        compares: [],
        operations: [
          { kind: 'put', key: `left/${String(writer)}`, value },
          { kind: 'put', key: `right/${String(writer)}`, value },
          { kind: 'put', key: `log/${String(writer)}/${String(n % 50)}`, value },
        ],
      },
    ]);
    process.stdout.write(`${String(writer)}:${String(n)}\n`);
  }
});
await Promise.all(writers);
