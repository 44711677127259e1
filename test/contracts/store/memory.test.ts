import { createMemoryStore } from '../../../controller/store/memory/memory-store.ts';
import { describeStore } from './store-contract.ts';

describeStore({
  name: 'memory',
  create: () => Promise.resolve(createMemoryStore()),
  cleanUp: () => Promise.resolve(),
  rounds: 200,
});
