/** Random messages of logs and exec for property tests. */
import fc from 'fast-check';
import { errorCodes } from '../../../proto/base/errors.ts';
import type {
  ExecUp,
  LogsQuery,
  LogsReply,
  OpenStream,
  ResumedTask,
  StreamDown,
  StreamUp,
} from '../../../proto/codec/streams.ts';
import type { ExecInput, ExecOutput, ExecStart } from '../../../proto/domain/exec.ts';
import type { LogLine, LogQuery } from '../../../proto/domain/logs.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 8 });
const named = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 });
const uint32 = fc.nat({ max: 2 ** 32 - 1 });
const bytes = fc.uint8Array({ maxLength: 40 });
const texts = fc.array(text, { maxLength: 3 });
const size = fc.record({ columns: uint32, rows: uint32 });

const logLine: fc.Arbitrary<LogLine> = fc.record({
  time: named,
  stream: fc.constantFrom('stdout', 'stderr'),
  text: bytes,
  ordinal: uint32,
});

const logQuery: fc.Arbitrary<LogQuery> = fc.record(
  { since: text, until: text, tail: uint32, after: fc.record({ time: text, count: uint32 }), follow: fc.boolean() },
  { requiredKeys: ['follow'] },
);

const execStart: fc.Arbitrary<ExecStart> = fc.record(
  { target: named, args: texts, environment: texts, user: text, workingDir: text, tty: fc.boolean(), size },
  { requiredKeys: ['target', 'args', 'environment', 'tty'] },
);

const execInput: fc.Arbitrary<ExecInput> = fc.oneof(
  fc.record({ kind: fc.constant('chunk' as const), chunk: bytes }),
  fc.record({ kind: fc.constant('end' as const) }),
  fc.record({ kind: fc.constant('resize' as const), columns: uint32, rows: uint32 }),
);

export const execOutput: fc.Arbitrary<ExecOutput> = fc.oneof(
  fc.record({ kind: fc.constantFrom('stdout' as const, 'stderr' as const), chunk: bytes }),
  fc.record({ kind: fc.constant('exit' as const), exitCode: uint32 }),
);

export const openStream: fc.Arbitrary<OpenStream> = fc.record({
  kind: fc.constant('open' as const),
  streamId: named,
  request: fc.oneof(
    fc.record({ kind: fc.constant('logs' as const), taskId: named, query: logQuery }),
    fc.record({ kind: fc.constant('exec' as const), start: execStart }),
  ),
});

export const streamUp: fc.Arbitrary<StreamUp> = fc.oneof(
  fc.record({ kind: fc.constant('begin' as const), streamId: text }),
  fc.record({ kind: fc.constant('logs' as const), lines: fc.array(logLine, { maxLength: 4 }) }),
  fc.record({ kind: fc.constant('output' as const), output: execOutput }),
  fc.record({ kind: fc.constant('failure' as const), code: fc.constantFrom(...errorCodes), message: text }),
);

export const streamDown: fc.Arbitrary<StreamDown> = fc.record({ input: execInput });

export const execUp: fc.Arbitrary<ExecUp> = fc.oneof(
  fc.record({ kind: fc.constant('start' as const), start: execStart }),
  fc.record({ kind: fc.constant('input' as const), input: execInput }),
);

const resumedTask: fc.Arbitrary<ResumedTask> = fc.record(
  { taskId: named, after: fc.record({ time: text, count: uint32 }), since: text },
  { requiredKeys: ['taskId'] },
);

export const logsQuery: fc.Arbitrary<LogsQuery> = fc.record(
  {
    targets: texts,
    since: text,
    until: text,
    tail: uint32,
    follow: fc.boolean(),
    resume: fc.array(resumedTask, { minLength: 1, maxLength: 2 }),
  },
  { requiredKeys: ['targets', 'follow'] },
);

export const logsReply: fc.Arbitrary<LogsReply> = fc.record({
  sources: fc.array(fc.record({ index: uint32, taskId: text, stack: text, service: text, slot: uint32, node: text }), {
    maxLength: 2,
  }),
  lines: fc.array(fc.record({ source: uint32, line: logLine }), { maxLength: 3 }),
  notices: texts,
});
