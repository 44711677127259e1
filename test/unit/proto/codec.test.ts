import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrotaError } from '../../../proto/base/errors.ts';
import { reviseUnit, unitChange } from '../../../proto/codec/assignment.ts';
import * as nodes from '../../../proto/codec/control-nodes.ts';
import * as control from '../../../proto/codec/control.ts';
import * as events from '../../../proto/codec/events.ts';
import * as dispatch from '../../../proto/codec/dispatch.ts';
import * as rollouts from '../../../proto/codec/rollouts.ts';
import * as records from '../../../proto/codec/records.ts';
import type { Codec } from '../../../proto/codec/wire.ts';
import { frota } from '../../../proto/gen/frota.js';
import * as streams from '../../../proto/codec/streams.ts';
import * as arbitrary from './records.arbitrary.ts';
import * as streaming from './streams.arbitrary.ts';

interface Case {
  readonly name: string;
  readonly codec: Codec<unknown>;
  readonly values: fc.Arbitrary<unknown>;
}

function caseOf<T>(name: string, codec: Codec<T>, values: fc.Arbitrary<T>): Case {
  return { name, codec, values };
}

const recordCases: readonly Case[] = [
  caseOf(
    'TaskTemplate',
    { encode: records.encodeTaskTemplate, decode: records.decodeTaskTemplate },
    arbitrary.template,
  ),
  caseOf('Stack', { encode: records.encodeStack, decode: records.decodeStack }, arbitrary.stack),
  caseOf('Revision', { encode: records.encodeRevision, decode: records.decodeRevision }, arbitrary.revision),
  caseOf('Service', { encode: records.encodeService, decode: records.decodeService }, arbitrary.service),
  caseOf('KeptPins', { encode: records.encodeKeptPins, decode: records.decodeKeptPins }, arbitrary.pins),
  caseOf('Task', { encode: records.encodeTask, decode: records.decodeTask }, arbitrary.task),
  caseOf('TaskStatus', { encode: records.encodeTaskStatus, decode: records.decodeTaskStatus }, arbitrary.taskStatus),
  caseOf('Node', { encode: records.encodeNode, decode: records.decodeNode }, arbitrary.node),
  caseOf('NodeFacts', { encode: records.encodeNodeFacts, decode: records.decodeNodeFacts }, arbitrary.nodeFacts),
  caseOf(
    'JoinTokenRecord',
    { encode: records.encodeJoinTokenRecord, decode: records.decodeJoinTokenRecord },
    arbitrary.joinToken,
  ),
  caseOf(
    'ClusterRecord',
    { encode: records.encodeClusterRecord, decode: records.decodeClusterRecord },
    arbitrary.cluster,
  ),
  caseOf('AgentMessage', dispatch.agentMessage, arbitrary.agentMessage),
  caseOf('ControllerMessage', dispatch.controllerMessage, arbitrary.controllerMessage),
  caseOf(
    'RegistryRecord',
    { encode: records.encodeRegistryRecord, decode: records.decodeRegistryRecord },
    arbitrary.registryRecord,
  ),
  caseOf(
    'ContentRecord',
    { encode: records.encodeContentRecord, decode: records.decodeContentRecord },
    arbitrary.contentRecord,
  ),
  caseOf(
    'ApplyRequest',
    control.applyRequest,
    fc.record({ spec: arbitrary.stack.map(({ spec }) => spec), contents: fc.array(arbitrary.content) }),
  ),
  caseOf(
    'FetchContentsReply',
    dispatch.fetchContentsReply,
    fc.record({ contents: fc.array(arbitrary.fetchedContent) }),
  ),
  caseOf(
    'StackProgress',
    control.stackProgress,
    fc.record({
      declared: fc.boolean(),
      version: fc.nat(),
      services: fc.array(arbitrary.serviceView, { maxLength: 2 }),
      tasks: fc.array(arbitrary.taskView, { maxLength: 2 }),
      converged: fc.boolean(),
      stuck: fc.array(arbitrary.stuck, { maxLength: 2 }),
      failed: fc.array(arbitrary.failedAttempt, { maxLength: 2 }),
      settling: fc.array(fc.string(), { maxLength: 2 }),
    }),
  ),
  caseOf(
    'RolloutHistoryReply',
    rollouts.rolloutHistoryReply,
    fc.record({ revisions: fc.array(arbitrary.revisionView, { maxLength: 2 }) }),
  ),
  caseOf('ListServicesReply', control.listServicesReply, fc.record({ services: fc.array(arbitrary.serviceView) })),
  caseOf(
    'ListTasksReply',
    control.listTasksReply,
    fc.record({ tasks: fc.array(arbitrary.taskView, { maxLength: 3 }) }),
  ),
  caseOf(
    'UpdateNodeRequest',
    nodes.updateNodeRequest,
    fc.record(
      {
        node: fc.string(),
        availability: fc.constantFrom('active', 'pause', 'drain'),
        setLabels: arbitrary.map,
        removeLabels: fc.array(fc.string(), { maxLength: 3 }),
      },
      { requiredKeys: ['node', 'setLabels', 'removeLabels'] },
    ),
  ),
  caseOf(
    'ListEventsReply',
    events.listEventsReply,
    fc.record(
      { events: fc.array(arbitrary.clusterEvent, { maxLength: 3 }), through: fc.nat() },
      { requiredKeys: ['events'] },
    ),
  ),
  caseOf('UpdateNodeReply', nodes.updateNodeReply, fc.record({ node: arbitrary.nodeView })),
  caseOf(
    'ListNodesReply',
    control.listNodesReply,
    fc.record({ nodes: fc.array(arbitrary.nodeView, { maxLength: 3 }) }),
  ),
];

const streamCases: readonly Case[] = [
  // On the session, where the agent hears of it.
  caseOf('OpenStream', dispatch.controllerMessage, streaming.openStream),
  caseOf('StreamUp', streams.streamUp, streaming.streamUp),
  caseOf('StreamDown', streams.streamDown, streaming.streamDown),
  caseOf('ExecUp', streams.execUp, streaming.execUp),
  caseOf('ExecOutput', streams.execOutput, streaming.execOutput),
  caseOf('LogsQuery', streams.logsQuery, streaming.logsQuery),
  caseOf('LogsReply', streams.logsReply, streaming.logsReply),
];

const runs = { numRuns: 60 };

describe.each([...recordCases, ...streamCases])('$name', ({ codec, values }) => {
  test('decode(encode(x)) is x', () => {
    fc.assert(
      fc.property(values, (value) => {
        // Cloned, because fast-check makes objects without a prototype.
        expect(codec.decode(codec.encode(value))).toStrictEqual(structuredClone(value));
      }),
      runs,
    );
  });

  test('damaged bytes give a value or FrotaError corrupt, never another error', () => {
    const damaged = fc.tuple(values, fc.nat(), fc.nat({ max: 255 }), fc.boolean()).map(([value, at, byte, cut]) => {
      const bytes = Uint8Array.from(codec.encode(value));
      if (cut) return bytes.subarray(0, at % (bytes.length + 1));
      if (bytes.length > 0) bytes[at % bytes.length] = byte;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), damaged), (bytes) => {
        try {
          codec.decode(bytes);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(FrotaError);
          expect((thrown as FrotaError).code).toBe('corrupt');
        }
      }),
      { numRuns: 300 },
    );
  });
});

const sha256Hex = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const corrupt = expect.objectContaining({ code: 'corrupt' }) as FrotaError;

describe('streams', () => {
  test('a failure with a code of a later version is one that may pass', () => {
    const bytes = frota.v1.StreamUp.encode({ failure: { code: 'too-new', text: 'x' } }).finish();
    expect(streams.streamUp.decode(bytes)).toEqual({ kind: 'failure', code: 'unavailable', message: 'x' });
  });

  test('a message without content is none', () => {
    const empty = new Uint8Array();
    for (const codec of [streams.streamUp, streams.streamDown, streams.execUp, streams.execOutput]) {
      expect(() => codec.decode(empty)).toThrow(corrupt);
    }
  });
});

describe('absence', () => {
  const base = {
    image: { reference: 'r/x:1', digest: '' },
    environment: {},
    labels: {},
    limits: {},
    reservations: { cpuMillis: 0, memoryBytes: 0 },
    stopGracePeriodMs: 0,
    drainDelayMs: 0,
    mounts: [],
    files: [],
    networks: [{ network: 'shop_default', aliases: [] }],
    generation: 0,
  };

  test('an absent command and an empty one stay apart', () => {
    const absent = records.decodeTaskTemplate(records.encodeTaskTemplate(base));
    const empty = records.decodeTaskTemplate(records.encodeTaskTemplate({ ...base, command: [] }));
    expect('command' in absent).toBe(false);
    expect(empty.command).toEqual([]);
  });

  test('bytes of nothing are no record', () => {
    for (const decode of [records.decodeTask, records.decodeStack, records.decodeNode, records.decodeService]) {
      expect(() => decode(new Uint8Array())).toThrow(corrupt);
    }
  });

  test('a missing message field is named', () => {
    const bytes = frota.v1.Task.encode({ id: 't', stack: 's', service: 'w' }).finish();
    expect(() => records.decodeTask(bytes)).toThrow('Task.template is missing');
  });

  test('an unknown enum number is refused', () => {
    const bytes = Uint8Array.of(...frota.v1.TaskStatus.encode({ taskId: 't' }).finish(), 0x10, 99);
    expect(() => records.decodeTaskStatus(bytes)).toThrow('TaskStatus.state has the unknown value 99');
  });

  test('an environment variable may have any name', () => {
    const environment = Object.fromEntries([
      ['__proto__', 'x'],
      ['constructor', 'y'],
      ['2', 'b'],
      ['10', 'a'],
    ]);
    const decoded = records.decodeTaskTemplate(records.encodeTaskTemplate({ ...base, environment }));
    expect(Object.entries(decoded.environment).sort()).toEqual(Object.entries(environment).sort());
  });
});

describe('numbers', () => {
  const node = {
    id: 'a',
    name: 'n',
    availability: 'active',
    subnet: '10.0.0.0/24',
    joinedAtMs: 0,
    labels: {},
  } as const;

  test.each([0.5, Number.NaN, Infinity, 2 ** 53])('%d is no int64 and is refused when encoding', (joinedAtMs) => {
    expect(() => records.encodeNode({ ...node, joinedAtMs })).toThrow(
      expect.objectContaining({ code: 'invalid' }) as FrotaError,
    );
  });

  test.each([-1, 2 ** 32, 1.5])('%d is no port', (livenessPort) => {
    const capacity = { cpuMillis: 1, memoryBytes: 1 };
    const facts = { nodeId: 'a', address: 'b', livenessPort, capacity, architecture: '', os: '', agentVersion: '' };
    expect(() => records.encodeNodeFacts(facts)).toThrow(expect.objectContaining({ code: 'invalid' }) as FrotaError);
  });

  test('an int64 beyond what JavaScript holds exactly is corrupt', () => {
    const bytes = [0x28, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]; // joined_at_ms = 2^53
    const whole = Uint8Array.from([...records.encodeNode(node), ...bytes]);
    expect(() => records.decodeNode(whole)).toThrow(corrupt);
  });
});

describe('revisions', () => {
  test('equal contents have equal revisions, whatever the order of map entries', () => {
    fc.assert(
      fc.property(arbitrary.template, (template) => {
        const of = (environment: Readonly<Record<string, string>>): string => {
          const task = { id: 't', stack: 's', service: 'w', slot: 1, desired: 'running' as const };
          return reviseUnit({ kind: 'tasks', tasks: [{ ...task, template: { ...template, environment } }] }, sha256Hex)
            .revision;
        };
        const reversed = Object.fromEntries(Object.entries(template.environment).reverse());
        expect(of(reversed)).toBe(of(template.environment));
        expect(of(template.environment)).toMatch(/^[0-9a-f]{16}$/);
      }),
      runs,
    );
  });

  test('a revised unit survives the wire and keeps its revision when it is computed again', () => {
    fc.assert(
      fc.property(arbitrary.unit, (unit) => {
        const change = { kind: 'unit', key: 'k', unit: reviseUnit(unit, sha256Hex) } as const;
        const decoded = unitChange.decode(unitChange.encode(change));
        expect(decoded).toStrictEqual(structuredClone(change));
        if (decoded.kind === 'unit')
          expect(reviseUnit(decoded.unit.unit, sha256Hex).revision).toBe(change.unit.revision);
      }),
      runs,
    );
  });

  test('another content has another revision', () => {
    const unit = {
      kind: 'network',
      containerPool: '10.1.0.0/16',
      vipPool: '10.2.0.0/16',
      peers: [],
      internal: [],
    } as const;
    const other = { ...unit, vipPool: '10.3.0.0/16' };
    expect(reviseUnit(unit, sha256Hex).revision).not.toBe(reviseUnit(other, sha256Hex).revision);
  });
});
