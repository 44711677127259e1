/** Messages of logs and exec: their shapes in the domain's terms, and their codecs. */
import { unreachable } from '../base/assert.ts';
import { errorCodes, FrotaError } from '../base/errors.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { DrillAnswer, DrillOrder } from '../domain/drill-orders.ts';
import type { ExecInput, ExecOutput, ExecStart } from '../domain/exec.ts';
import type { LogLine, LogPlace, LogQuery } from '../domain/logs.ts';
import { drillAnswerFromWire, drillAnswerToWire, drillOrderFromWire, drillOrderToWire } from './drill-orders.ts';
import * as w from './wire.ts';
import type { Codec, Received, Sent } from './wire.ts';

export type StreamRequest =
  | { readonly kind: 'logs'; readonly taskId: string; readonly query: LogQuery }
  | { readonly kind: 'exec'; readonly start: ExecStart }
  | { readonly kind: 'drill'; readonly order: DrillOrder };

/** Controller → agent, on the session: answer this on a stream of its own, begun with the id. */
export interface OpenStream {
  readonly kind: 'open';
  readonly streamId: string;
  readonly request: StreamRequest;
}
/** Agent → controller. `begin` is the first message and only the first; after a failure comes nothing. */
export type StreamUp =
  | { readonly kind: 'begin'; readonly streamId: string }
  | { readonly kind: 'logs'; readonly lines: readonly LogLine[] }
  | { readonly kind: 'output'; readonly output: ExecOutput }
  | { readonly kind: 'drill'; readonly answer: DrillAnswer }
  | { readonly kind: 'failure'; readonly code: ErrorCode; readonly message: string };
/** Controller → agent. Its end ends the work. */
export interface StreamDown {
  readonly input: ExecInput;
}

/** Whose logs; times as in `LogQuery`. */
export interface LogsQuery {
  /** Services, stacks, slots and tasks, as people write them. */
  readonly targets: readonly string[];
  readonly since?: string;
  readonly until?: string;
  readonly tail?: number;
  readonly follow: boolean;
  /** Of a call that goes on where an earlier one broke off: the tasks that it told of. Of any other task all is new. */
  readonly resume?: readonly ResumedTask[];
}
/** `after`: the place behind the last line that was told. Without it none was, and what is older than `since` was not asked for. */
export interface ResumedTask {
  readonly taskId: string;
  readonly after?: LogPlace;
  readonly since?: string;
}
/** A task whose lines follow; told before its first one. */
export interface LogSource {
  readonly index: number;
  readonly taskId: string;
  readonly stack: string;
  readonly service: string;
  readonly slot: number;
  readonly node: string;
}
export interface SourcedLine {
  readonly source: number;
  readonly line: LogLine;
}
export interface LogsReply {
  readonly sources: readonly LogSource[];
  readonly lines: readonly SourcedLine[];
  /** What could not be read, and why, for people. */
  readonly notices: readonly string[];
}
/** Person → controller. `start` is the first message and only the first. */
export type ExecUp =
  { readonly kind: 'start'; readonly start: ExecStart } | { readonly kind: 'input'; readonly input: ExecInput };

const lineToWire = ({ time, stream, text, ordinal }: LogLine): Sent<'LogLine'> => ({
  time,
  stderr: stream === 'stderr',
  text,
  ordinal: w.uint32(ordinal, 'LogLine.ordinal'),
});
const lineFromWire = (wire: Received<'LogLine'>): LogLine => ({
  time: w.name(wire.time, 'LogLine.time'),
  stream: wire.stderr ? 'stderr' : 'stdout',
  text: w.ownBytes(wire.text),
  ordinal: wire.ordinal,
});

const placeToWire = ({ time, count }: LogPlace): Sent<'LogPlace'> => ({
  time,
  count: w.uint32(count, 'LogPlace.count'),
});
const placeFromWire = ({ time, count }: Received<'LogPlace'>): LogPlace => ({ time, count });

const logRequestToWire = (taskId: string, query: LogQuery): Sent<'LogRequest'> => ({
  taskId,
  since: query.since ?? null,
  until: query.until ?? null,
  tail: w.optionalUint32(query.tail, 'LogRequest.tail'),
  after: query.after === undefined ? null : placeToWire(query.after),
  follow: query.follow,
});

const logQueryFromWire = (wire: Received<'LogRequest'>): LogQuery =>
  w.fields<LogQuery>({
    since: wire.since ?? undefined,
    until: wire.until ?? undefined,
    tail: wire.tail ?? undefined,
    after: w.optional(wire.after, placeFromWire),
    follow: wire.follow,
  });

const startToWire = (start: ExecStart): Sent<'ExecRequest'> => ({
  target: start.target,
  args: [...start.args],
  environment: [...start.environment],
  user: start.user ?? null,
  workingDir: start.workingDir ?? null,
  tty: start.tty,
  size: start.size === undefined ? null : sizeToWire(start.size),
});

const sizeToWire = ({ columns, rows }: { columns: number; rows: number }): Sent<'TerminalSize'> => ({
  columns: w.uint32(columns, 'TerminalSize.columns'),
  rows: w.uint32(rows, 'TerminalSize.rows'),
});

const startFromWire = (wire: Received<'ExecRequest'>): ExecStart =>
  w.fields<ExecStart>({
    target: w.name(wire.target, 'ExecRequest.target'),
    args: wire.args,
    environment: wire.environment,
    user: wire.user ?? undefined,
    workingDir: wire.workingDir ?? undefined,
    tty: wire.tty,
    size: w.optional(wire.size, ({ columns, rows }) => ({ columns, rows })),
  });

function inputToWire(input: ExecInput): Sent<'ExecInput'> {
  const none = { chunk: null, end: null, resize: null };
  switch (input.kind) {
    case 'chunk':
      return { ...none, chunk: input.chunk };
    case 'end':
      return { ...none, end: {} };
    case 'resize':
      return { ...none, resize: sizeToWire(input) };
    default:
      return unreachable(input);
  }
}

function inputFromWire(wire: Received<'ExecInput'>): ExecInput {
  const { chunk, end, resize } = wire as { [K in 'chunk' | 'end' | 'resize']: (typeof wire)[K] | null };
  if (chunk !== null) return { kind: 'chunk', chunk: w.ownBytes(chunk) };
  if (end !== null) return { kind: 'end' };
  if (resize !== null) return { kind: 'resize', columns: resize.columns, rows: resize.rows };
  throw new FrotaError('corrupt', 'ExecInput.message is missing or of a later version');
}

function outputToWire(output: ExecOutput): Sent<'ExecOutput'> {
  const none = { stdout: null, stderr: null, exitCode: null };
  switch (output.kind) {
    case 'stdout':
      return { ...none, stdout: output.chunk };
    case 'stderr':
      return { ...none, stderr: output.chunk };
    case 'exit':
      return { ...none, exitCode: w.uint32(output.exitCode, 'ExecOutput.exit_code') };
    default:
      return unreachable(output);
  }
}

function outputFromWire(wire: Received<'ExecOutput'>): ExecOutput {
  const { stdout, stderr, exitCode } = wire as { [K in 'stdout' | 'stderr' | 'exitCode']: (typeof wire)[K] | null };
  if (stdout !== null) return { kind: 'stdout', chunk: w.ownBytes(stdout) };
  if (stderr !== null) return { kind: 'stderr', chunk: w.ownBytes(stderr) };
  if (exitCode !== null) return { kind: 'exit', exitCode };
  throw new FrotaError('corrupt', 'ExecOutput.message is missing or of a later version');
}

export function openStreamToWire({ streamId, request }: OpenStream): Sent<'OpenStream'> {
  const none = { streamId, logs: null, exec: null, drill: null };
  switch (request.kind) {
    case 'logs':
      return { ...none, logs: logRequestToWire(request.taskId, request.query) };
    case 'exec':
      return { ...none, exec: startToWire(request.start) };
    case 'drill':
      return { ...none, drill: drillOrderToWire(request.order) };
    default:
      return unreachable(request);
  }
}

export function openStreamFromWire(wire: Received<'OpenStream'>): OpenStream {
  const streamId = w.name(wire.streamId, 'OpenStream.stream_id');
  const { logs, exec, drill } = wire as { [K in 'logs' | 'exec' | 'drill']: (typeof wire)[K] | null };
  if (logs !== null) {
    const taskId = w.name(logs.taskId, 'LogRequest.task_id');
    const query = logQueryFromWire(logs);
    return { kind: 'open', streamId, request: { kind: 'logs', taskId, query } };
  }
  if (exec !== null) {
    return { kind: 'open', streamId, request: { kind: 'exec', start: startFromWire(exec) } };
  }
  if (drill !== null) {
    return { kind: 'open', streamId, request: { kind: 'drill', order: drillOrderFromWire(drill) } };
  }
  throw new FrotaError('corrupt', 'OpenStream.message is missing or of a later version');
}

function streamUpToWire(message: StreamUp): Sent<'StreamUp'> {
  const none = { streamId: null, logs: null, output: null, drill: null, failure: null };
  switch (message.kind) {
    case 'begin':
      return { ...none, streamId: message.streamId };
    case 'logs':
      return { ...none, logs: { lines: message.lines.map(lineToWire) } };
    case 'output':
      return { ...none, output: outputToWire(message.output) };
    case 'drill':
      return { ...none, drill: drillAnswerToWire(message.answer) };
    case 'failure':
      return { ...none, failure: { code: message.code, text: message.message } };
    default:
      return unreachable(message);
  }
}

function streamUpFromWire(wire: Received<'StreamUp'>): StreamUp {
  const { streamId, logs, output, drill, failure } = wire as {
    [K in 'streamId' | 'logs' | 'output' | 'drill' | 'failure']: (typeof wire)[K] | null;
  };
  if (streamId !== null) return { kind: 'begin', streamId };
  if (logs !== null) {
    return { kind: 'logs', lines: logs.lines.map((line) => lineFromWire(line)) };
  }
  if (output !== null) return { kind: 'output', output: outputFromWire(output) };
  if (drill !== null) return { kind: 'drill', answer: drillAnswerFromWire(drill) };
  if (failure !== null) {
    const code = errorCodes.find((known) => known === failure.code) ?? 'unavailable';
    return { kind: 'failure', code, message: failure.text };
  }
  throw new FrotaError('corrupt', 'StreamUp.message is missing or of a later version');
}

export const streamUp: Codec<StreamUp> = w.messageCodec('StreamUp', streamUpToWire, streamUpFromWire);

export const streamDown: Codec<StreamDown> = w.messageCodec(
  'StreamDown',
  ({ input }) => ({ input: inputToWire(input) }),
  (wire) => ({
    input: inputFromWire(
      w.required<Received<'ExecInput'>>(wire.input as Received<'ExecInput'> | null, 'StreamDown.input'),
    ),
  }),
);

const resumedFromWire = (wire: Received<'ResumedTask'>): ResumedTask =>
  w.fields<ResumedTask>({
    taskId: w.name(wire.taskId, 'ResumedTask.task_id'),
    after: w.optional(wire.after, placeFromWire),
    since: wire.since ?? undefined,
  });

export const logsQuery: Codec<LogsQuery> = w.messageCodec(
  'LogsQuery',
  (query) => ({
    targets: [...query.targets],
    since: query.since ?? null,
    until: query.until ?? null,
    tail: w.optionalUint32(query.tail, 'LogsQuery.tail'),
    follow: query.follow,
    resume: (query.resume ?? []).map(({ taskId, after, since }) => ({
      taskId,
      after: after === undefined ? null : placeToWire(after),
      since: since ?? null,
    })),
  }),
  (wire) =>
    w.fields<LogsQuery>({
      targets: wire.targets,
      since: wire.since ?? undefined,
      until: wire.until ?? undefined,
      tail: wire.tail ?? undefined,
      follow: wire.follow,
      resume: wire.resume.length === 0 ? undefined : wire.resume.map(resumedFromWire),
    }),
);

export const logsReply: Codec<LogsReply> = w.messageCodec(
  'LogsReply',
  ({ sources, lines, notices }) => ({
    sources: sources.map(({ index, taskId, stack, service, slot, node }) => ({
      index: w.uint32(index, 'LogSource.index'),
      taskId,
      stack,
      service,
      slot: w.uint32(slot, 'LogSource.slot'),
      node,
    })),
    lines: lines.map(({ source, line }) => ({
      source: w.uint32(source, 'SourcedLine.source'),
      line: lineToWire(line),
    })),
    notices: [...notices],
  }),
  (wire) => ({
    sources: wire.sources.map((source) => {
      const { index, taskId, stack, service, slot, node } = source as LogSource;
      return { index, taskId, stack, service, slot, node };
    }),
    lines: wire.lines.map((each) => {
      const { source, line } = each;
      return {
        source,
        line: lineFromWire(w.required<Received<'LogLine'>>(line, 'SourcedLine.line')),
      };
    }),
    notices: wire.notices,
  }),
);

export const execUp: Codec<ExecUp> = w.messageCodec(
  'ExecUp',
  (message) =>
    message.kind === 'start'
      ? { start: startToWire(message.start), input: null }
      : { start: null, input: inputToWire(message.input) },
  (wire) => {
    const { start, input } = wire as { [K in 'start' | 'input']: (typeof wire)[K] | null };
    if (start !== null) return { kind: 'start', start: startFromWire(start) };
    if (input !== null) return { kind: 'input', input: inputFromWire(input) };
    throw new FrotaError('corrupt', 'ExecUp.message is missing or of a later version');
  },
);

export const execOutput: Codec<ExecOutput> = w.messageCodec('ExecOutput', outputToWire, outputFromWire);
