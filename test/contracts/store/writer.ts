/** Child process of the crash tests: writes triples that belong together and says which are acknowledged. */
import { openEmbeddedStore } from '../../../controller/store/embedded/embedded-store.ts';
import { openEtcdStore } from '../../../controller/store/etcd/etcd-store.ts';
import { silentLogger } from '../../../proto/base/log.ts';

const [kind = '', place = '', start = '0'] = process.argv.slice(2);
const store =
  kind === 'embedded'
    ? openEmbeddedStore(place)
    : await openEtcdStore({ endpoints: { secure: false, addresses: [place] }, logger: silentLogger });
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
