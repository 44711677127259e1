/** What one declaration of a stack changes against another, as lines for people. Values that may be secret are never shown. */
import type { ServiceSpec, StackSpec, TaskTemplate } from '../../proto/domain/service.ts';
import type { UpdatePolicy } from '../../proto/domain/update.ts';
import { formatBytes } from '../schedule/filters/capacity.ts';
import { canonicalJson } from './canonical-json.ts';

/** Nobody reads more, and every one of them is stored. */
export const maxDifferences = 100;
/** Of one line: a reference may be long, and a name. */
const maxLineLength = 300;

/** By service, in the order of their names; empty if nothing was changed. `before` undefined: the stack is new. */
export function stackDifference(before: StackSpec | undefined, after: StackSpec): readonly string[] {
  const old = new Map(before?.services.map((service) => [service.name, service]));
  const next = new Map(after.services.map((service) => [service.name, service]));
  const names = [...new Set([...old.keys(), ...next.keys()])].sort();
  const lines = [
    ...names.flatMap((name) => serviceDifference(name, old.get(name), next.get(name))),
    ...partDifference('network', before?.networks ?? [], before === undefined ? [] : after.networks),
    ...partDifference('volume', before?.volumes ?? [], before === undefined ? [] : after.volumes),
  ].map((line) => (line.length > maxLineLength ? `${line.slice(0, maxLineLength - 1)}…` : line));
  if (lines.length <= maxDifferences) return lines;
  return [...lines.slice(0, maxDifferences), `and ${String(lines.length - maxDifferences)} more`];
}

function serviceDifference(
  name: string,
  before: ServiceSpec | undefined,
  after: ServiceSpec | undefined,
): readonly string[] {
  if (after === undefined) return [`- service ${name}`];
  if (before === undefined) return [`+ service ${name}`];
  const old = factsOf(before);
  const next = factsOf(after);
  const lines: string[] = [];
  for (const [what, { text, equals }] of next) {
    const earlier = old.get(what);
    if (earlier === undefined) lines.push(`${name}: + ${[what, text].filter(Boolean).join(' ')}`);
    else if (earlier.equals !== equals) lines.push(`${name}: ${changeText(what, earlier.text, text)}`);
  }
  for (const what of old.keys()) if (!next.has(what)) lines.push(`${name}: - ${what}`);
  return lines;
}

function changeText(what: string, before: string | undefined, after: string | undefined): string {
  if (what === 'restarts') return 'restarted';
  if (what === 'image' && before === after) return `image ${String(after)} has new content`;
  const isShown = before !== undefined && after !== undefined && before !== after;
  return isShown ? `${what} ${before} -> ${after}` : `${what} changed`;
}

/** One thing that is declared. Equal `equals` are no difference; no `text`: what it is now is not for showing. */
interface Fact {
  readonly text: string | undefined;
  readonly equals: string;
}

type Facts = Map<string, Fact>;

function factsOf(service: ServiceSpec): Facts {
  const facts: Facts = new Map();
  const show = (what: string, value: string | number | undefined, equals?: string): void => {
    if (value !== undefined) facts.set(what, { text: String(value), equals: equals ?? String(value) });
  };
  const hide = (what: string, value: unknown): void => {
    if (value !== undefined) facts.set(what, { text: undefined, equals: canonicalJson(value) });
  };
  const { restart, template, placement, labels, dependsOn } = service;
  show('image', template.image.reference, canonicalJson(template.image));
  if (service.pullPolicy !== 'always') show('pull_policy', service.pullPolicy);
  show('mode', service.mode);
  if (service.mode === 'replicated') show('replicas', service.replicas);
  templateFacts(template, show, hide);
  for (const { target, published, protocol } of service.ports) {
    show(`port ${String(target)}/${protocol}${published === undefined ? '' : ` as ${String(published)}`}`, '');
  }
  show('restart', restart.condition);
  show('restart attempts', restart.maxAttempts);
  show('restart delay', restart.delayMs && durationText(restart.delayMs));
  show('restart window', restart.windowMs && durationText(restart.windowMs));
  hide('placement', placement);
  policyFacts('update', service.update, show);
  policyFacts('rollback', service.rollback, show);
  for (const [label, value] of Object.entries(labels)) hide(`service label ${label}`, value);
  for (const { service: other, condition, required } of dependsOn) {
    show(`dependency on ${other}`, `${condition}${required ? '' : ', if it is there'}`);
  }
  return facts;
}

type Show = (what: string, value: string | number | undefined, equals?: string) => void;
type Hide = (what: string, value: unknown) => void;

/** Commands and variables are hidden: people put passwords there. */
function templateFacts(template: TaskTemplate, show: Show, hide: Hide): void {
  hide('entrypoint', template.entrypoint);
  hide('command', template.command);
  for (const [variable, value] of Object.entries(template.environment)) hide(`variable ${variable}`, value);
  for (const [label, value] of Object.entries(template.labels)) hide(`label ${label}`, value);
  show('user', template.user);
  show('working folder', template.workingDir);
  const { limits, reservations } = template;
  show('cpu limit', limits.cpuMillis && limits.cpuMillis / 1_000);
  show('memory limit', limits.memoryBytes && formatBytes(limits.memoryBytes));
  show('pids limit', limits.pids);
  show('cpu reservation', reservations.cpuMillis / 1_000);
  show('memory reservation', formatBytes(reservations.memoryBytes));
  show('stop signal', template.stopSignal);
  show('stop grace period', durationText(template.stopGracePeriodMs));
  show('lease', template.fenceLeaseMs && durationText(template.fenceLeaseMs));
  show('drain delay', durationText(template.drainDelayMs));
  hide('health check', template.healthCheck);
  for (const mount of template.mounts) hide(`mount at ${mount.target}`, mount);
  for (const file of template.files) hide(`${file.kind} ${file.name}`, file);
  for (const { network, aliases } of template.networks) hide(`network ${network}`, aliases);
  show('restarts', template.generation);
}

function policyFacts(what: string, policy: UpdatePolicy, show: Show): void {
  show(`${what} parallelism`, policy.parallelism === 0 ? 'all' : policy.parallelism);
  show(`${what} delay`, durationText(policy.delayMs));
  show(`${what} order`, policy.order);
  show(`${what} monitor`, durationText(policy.monitorMs));
  show(`${what} failure action`, policy.failureAction);
  show(`${what} failure ratio`, policy.maxFailureRatio);
}

const durationText = (ms: number): string => (ms % 1_000 === 0 ? `${String(ms / 1_000)} s` : `${String(ms)} ms`);

/** Networks and volumes, by what a file calls them. */
function partDifference(
  what: string,
  before: readonly { readonly key: string }[],
  after: readonly { readonly key: string }[],
): readonly string[] {
  const old = new Map(before.map((part) => [part.key, canonicalJson(part)]));
  const next = new Map(after.map((part) => [part.key, canonicalJson(part)]));
  return [...new Set([...old.keys(), ...next.keys()])].sort().flatMap((key) => {
    if (!next.has(key)) return [`- ${what} ${key}`];
    if (!old.has(key)) return [`+ ${what} ${key}`];
    return old.get(key) === next.get(key) ? [] : [`${what} ${key} changed`];
  });
}
