// Who may import whom. The reasons are in docs/rules.md; test/rules holds one planted violation for each rule.

/** Rooms without effects: data in, data out. */
const pureRooms = '(controller/(plan|schedule|network|drills)|agent/reconcile|cli/manifest)/';
/** What other rooms of the same process may import, as types only: the words that `main.ts` joins adapters to. */
const portFiles = [
  'controller/store/store[.]ts',
  'agent/images/images[.]ts',
  'agent/network/network[.]ts',
  'agent/runtime/runtime[.]ts',
  'agent/state/journal[.]ts',
  '(controller|agent)/[^/]+/ports[.]ts',
].join('|');
/** An npm package, wherever node_modules lies. */
const npm = (names) => `(^|/)node_modules/(${names})/`;
const anyNpm = '(^|/)node_modules/';
const production = '^(proto|controller|agent|cli)/';
/** Not a file of this repository: npm or Node's own. */
const foreign = ['core', 'npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-no-pkg', 'npm-unknown'];

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      comment: 'Two files that need each other are one file, or a third is missing.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-unresolvable',
      comment: 'An import that leads nowhere would make every other rule blind.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'no-dev-dependencies',
      comment: 'What runs must not need what only builds and tests have.',
      severity: 'error',
      from: { path: production },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'production-imports-no-test',
      comment: 'Tests know the house; the house does not know its tests.',
      severity: 'error',
      from: { path: production },
      to: { path: '^(test|examples)/' },
    },
    {
      name: 'base-imports-nothing',
      comment: 'proto/base is the ground floor: nothing is below it, not even node:*.',
      severity: 'error',
      from: { path: '^proto/base/' },
      to: { pathNot: '^proto/base/' },
    },
    {
      name: 'domain-imports-base',
      comment: 'proto/domain are words; they need proto/base and nothing else.',
      severity: 'error',
      from: { path: '^proto/domain/' },
      to: { pathNot: '^proto/(base|domain)/' },
    },
    {
      name: 'wire-imports-proto',
      comment: 'proto/codec and proto/rpc stand on domain, base and the generated code.',
      severity: 'error',
      from: { path: '^proto/(codec|rpc)/' },
      to: { pathNot: '^proto/(base|domain|gen|codec|rpc)/', dependencyTypesNot: foreign },
    },
    {
      name: 'oci-imports-base',
      comment: 'proto/oci speaks HTTP to a registry: proto/base, undici and node:* are all it needs.',
      severity: 'error',
      from: { path: '^proto/oci/' },
      to: { pathNot: ['^proto/(base|oci)/', npm('undici')], dependencyTypesNot: ['core'] },
    },
    {
      name: 'undici-only-in-oci',
      comment: 'One registry client, in proto/oci.',
      severity: 'error',
      from: { path: production, pathNot: '^proto/oci/' },
      to: { path: npm('undici|undici-types') },
    },
    {
      name: 'wire-libraries-only-in-proto',
      comment: 'Nobody else sees protobuf messages or gRPC: proto/codec and proto/rpc translate.',
      severity: 'error',
      from: { path: production, pathNot: '^proto/(codec|rpc|gen)/' },
      to: { path: npm('protobufjs|protobufjs-cli|@grpc/[^/]+|@protobufjs/[^/]+') },
    },
    {
      name: 'generated-only-in-wire',
      comment: 'Generated messages are converted to domain values at the border, in proto/codec and proto/rpc.',
      severity: 'error',
      from: { path: production, pathNot: '^proto/(codec|rpc|gen)/' },
      to: { path: '^proto/gen/' },
    },
    {
      name: 'lmdb-only-in-embedded',
      comment: 'Only the embedded adapter of the store knows its engine.',
      severity: 'error',
      from: { path: production, pathNot: '^controller/store/embedded/' },
      to: { path: npm('lmdb') },
    },
    {
      name: 'etcd3-only-in-etcd',
      comment: 'Only the etcd adapter of the store knows its client.',
      severity: 'error',
      from: { path: production, pathNot: '^controller/store/etcd/' },
      to: { path: npm('etcd3') },
    },
    {
      name: 'cockatiel-only-in-etcd',
      comment:
        'It comes with etcd3 and is set by the same adapter: elsewhere what is tried again is said in our own words.',
      severity: 'error',
      from: { path: production, pathNot: '^controller/store/etcd/' },
      to: { path: npm('cockatiel') },
    },
    {
      name: 'dns-packet-only-in-dns',
      comment: 'One place reads and writes DNS messages: the name server of the agent.',
      severity: 'error',
      from: { path: production, pathNot: '^agent/dns/' },
      to: { path: npm('dns-packet|@types/dns-packet') },
    },
    {
      name: 'processes-apart',
      comment:
        'Controller, agent and cli are three programs: they meet on the wire. So the agent never sees the store.',
      severity: 'error',
      from: { path: '^(controller|agent|cli)/' },
      to: { path: '^(controller|agent|cli)/', pathNot: '^$1/' },
    },
    {
      name: 'pure-rooms',
      comment:
        'A pure room imports proto/base, proto/domain, pure rooms of its own process, and the grammar of image references.',
      severity: 'error',
      from: { path: `^${pureRooms}` },
      to: { pathNot: ['^proto/(base|domain)/', '^proto/oci/(reference|digest)[.]ts$', `^${pureRooms}`, npm('yaml')] },
    },
    {
      name: 'yaml-only-in-manifest',
      comment: 'One reader of Compose files.',
      severity: 'error',
      from: { path: production, pathNot: '^cli/manifest/' },
      to: { path: npm('yaml') },
    },
    {
      name: 'network-and-schedule-below-plan',
      comment: 'In the controller plan stands on schedule and network, never the other way round.',
      severity: 'error',
      from: { path: '^controller/(schedule|network)/' },
      to: { path: '^controller/plan/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'rooms-meet-in-main',
      comment:
        'A room runs code of its own, of pure rooms, and (in the agent) of host/, through which all programs are called. ' +
        'main.ts, the composition root, joins the rest.',
      severity: 'error',
      from: { path: '^(controller|agent)/([^/]+)/', pathNot: `^${pureRooms}` },
      to: { path: '^$1/', pathNot: ['^$1/$2/', `^${pureRooms}`, '^agent/host/'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'rooms-share-only-ports',
      comment: 'Of another room of its process a room may know the port, not the insides.',
      severity: 'error',
      from: { path: '^(controller|agent)/([^/]+)/', pathNot: `^${pureRooms}` },
      to: {
        path: '^$1/',
        pathNot: ['^$1/$2/', `^${pureRooms}`, '^agent/host/', `^(${portFiles})$`],
        dependencyTypes: ['type-only'],
      },
    },
    {
      name: 'nobody-imports-main',
      comment: 'A composition root is started, never imported.',
      severity: 'error',
      from: {},
      to: { path: '^((controller|agent|cli)|cli/local)/main[.]ts$' },
    },
    {
      name: 'commands-on-top',
      comment: 'In the cli the commands use the other rooms; no room knows a command.',
      severity: 'error',
      from: { path: '^cli/', pathNot: '^cli/(commands/|main[.]ts$)' },
      to: { path: '^cli/commands/' },
    },
  ],
  options: {
    doNotFollow: { path: anyNpm },
    exclude: { path: '(^|/)test/rules/planted/' },
    // Type-only imports count: a type is a dependency too.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
    skipAnalysisNotInRules: true,
  },
};
