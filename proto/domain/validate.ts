/** What a controller refuses whatever client sent it. Several problems at once; `where` is the path in a Compose file. */
import type { Problem } from '../base/errors.ts';
import type { PortSpec, RestartPolicy, ServiceSpec, StackSpec, TaskTemplate } from './service.ts';
import { checkDependencies } from './validate-dependencies.ts';
import { checkParts } from './validate-parts.ts';
import { isStopSignal } from './stop-signal.ts';

/** A name is a DNS label and part of a store key: 63 bytes, as RFC 1035 2.3.4 has it. */
export const maxNameLength = 63;
export const maxServicesPerStack = 1_000;
/** A typing error of one digit too many should not fill a cluster. */
export const maxReplicas = 10_000;
export const maxPortsPerService = 256;
export const maxImageReferenceLength = 512;
export const maxLabelNameBytes = 256;
export const maxLabelValueBytes = 16 * 1024;
/** Docker's own floor: below it the runtime itself does not fit. */
export const minMemoryLimitBytes = 6 * 1024 * 1024;
/** An hour: a node that drains, and an update, must end some day. */
export const maxStopGracePeriodMs = 60 * 60 * 1_000;
/** A day: what waits longer for its next attempt is forgotten, and no policy at all says it better. */
export const maxRestartDelayMs = 24 * 60 * 60 * 1_000;
/** A month, for the same reason. */
export const maxRestartWindowMs = 30 * maxRestartDelayMs;
/** Attempts that a policy with a window can count: their times are in each task's record. */
export const maxRestartsInWindow = 100;
/** Each task carries its template, and so does each node's assignment; environment, command and labels belong in here. */
export const maxTemplateBytes = 128 * 1024;
/** A stack is written together with its place in the history: twice this, and some bytes around, fit into one transaction. */
export const maxStackBytes = 600 * 1024;

/** Compose specification, `services` and `name`. */
const serviceNamePattern = /^[a-zA-Z0-9][a-zA-Z0-9._-]*$/;
const stackNamePattern = /^[a-z0-9][a-z0-9_-]*$/;
const digestPattern = /^sha256:[0-9a-f]{64}$/;

type Report = (where: string, message: string) => void;

/** Empty if all is well. Names of services must be unique; images need no digest yet. */
export function validateStackSpec(spec: StackSpec): readonly Problem[] {
  const problems: Problem[] = [];
  const report: Report = (where, message) => problems.push({ where, message });
  checkStackName(spec.name, report);
  if (spec.services.length === 0) report('services', 'a stack needs at least one service');
  if (spec.services.length > maxServicesPerStack) {
    report('services', `${String(spec.services.length)} services are too many; at most ${String(maxServicesPerStack)}`);
  }
  const names = new Set<string>();
  for (const service of spec.services) {
    if (names.has(service.name)) report(`services.${service.name}`, 'this service is declared twice');
    names.add(service.name);
    checkService(service, report);
  }
  checkPublishedOnce(spec.services, report);
  checkParts(spec, report);
  checkDependencies(spec.services, report);
  const bytes = sizeOf(spec);
  if (bytes > maxStackBytes) report('services', tooLarge('the stack', bytes, maxStackBytes));
  return problems;
}

function checkStackName(name: string, report: Report): void {
  if (!stackNamePattern.test(name)) {
    report(
      'name',
      `"${name}" is no stack name; use lower-case letters, digits, - and _, beginning with a letter or digit`,
    );
  } else if (name.length > maxNameLength) {
    report('name', `the stack name is longer than ${String(maxNameLength)} characters`);
  }
}

function checkService(service: ServiceSpec, report: Report): void {
  const where = `services.${service.name}`;
  if (!serviceNamePattern.test(service.name)) {
    const rule = 'use letters, digits, ., - and _, beginning with a letter or digit';
    report(where, `"${service.name}" is no service name; ${rule}`);
  } else if (service.name.length > maxNameLength) {
    report(where, `the service name is longer than ${String(maxNameLength)} characters`);
  }
  checkInteger(service.replicas, 0, maxReplicas, `${where}.deploy.replicas`, 'replicas', report);
  checkRestart(service.restart, `${where}.deploy.restart_policy`, report);
  if (service.ports.length > maxPortsPerService) {
    report(
      `${where}.ports`,
      `${String(service.ports.length)} ports are too many; at most ${String(maxPortsPerService)}`,
    );
  }
  service.ports.forEach((port, index) => checkPort(port, `${where}.ports[${String(index)}]`, report));
  checkTemplate(service.template, where, report);
}

function checkRestart({ maxAttempts, delayMs, windowMs }: RestartPolicy, where: string, report: Report): void {
  if (maxAttempts !== undefined) {
    const most = windowMs === undefined ? Number.MAX_SAFE_INTEGER : maxRestartsInWindow;
    const what = windowMs === undefined ? 'max_attempts' : 'max_attempts within a window';
    checkInteger(maxAttempts, 0, most, `${where}.max_attempts`, what, report);
  }
  if (delayMs !== undefined) {
    checkInteger(delayMs, 0, maxRestartDelayMs, `${where}.delay`, 'the delay in milliseconds', report);
  }
  if (windowMs !== undefined) {
    checkInteger(windowMs, 1, maxRestartWindowMs, `${where}.window`, 'the window in milliseconds', report);
  }
}

function checkPort({ target, published }: PortSpec, where: string, report: Report): void {
  checkInteger(target, 1, 65_535, where, 'the container port', report);
  if (published !== undefined) checkInteger(published, 1, 65_535, where, 'the published port', report);
}

function checkPublishedOnce(services: readonly ServiceSpec[], report: Report): void {
  const owners = new Map<string, string>();
  for (const { name, ports } of services) {
    ports.forEach(({ published, protocol }, index) => {
      if (published === undefined) return;
      const port = `${String(published)}/${protocol}`;
      const owner = owners.get(port);
      owners.set(port, owner ?? name);
      if (owner === undefined) return;
      const by = owner === name ? 'twice by this service' : `by service ${owner}, too`;
      report(`services.${name}.ports[${String(index)}]`, `port ${port} is published ${by}; publish another one`);
    });
  }
}

function checkTemplate(template: TaskTemplate, where: string, report: Report): void {
  checkImage(template.image, `${where}.image`, report);
  for (const [key, words] of [
    ['entrypoint', template.entrypoint],
    ['command', template.command],
  ] as const) {
    if (words?.some(hasNul) === true)
      report(`${where}.${key}`, 'an argument has a NUL byte, which no program can be given');
  }
  if (template.user !== undefined && !/^[^\s:\0]+(:[^\s:\0]+)?$/.test(template.user)) {
    report(`${where}.user`, `"${template.user}" is no user; write user, uid, user:group or uid:gid`);
  }
  if (template.workingDir !== undefined && (!template.workingDir.startsWith('/') || hasNul(template.workingDir))) {
    report(`${where}.working_dir`, `"${template.workingDir}" is no absolute path`);
  }
  if (template.stopSignal !== undefined && !isStopSignal(template.stopSignal)) {
    report(`${where}.stop_signal`, `"${template.stopSignal}" is no signal; write it like SIGQUIT, or its number`);
  }
  checkEnvironment(template.environment, `${where}.environment`, report);
  checkLabels(template.labels, `${where}.labels`, report);
  checkResources(template, `${where}.deploy.resources`, report);
  const grace = template.stopGracePeriodMs;
  checkInteger(
    grace,
    0,
    maxStopGracePeriodMs,
    `${where}.stop_grace_period`,
    'the grace period in milliseconds',
    report,
  );
  const bytes = sizeOf(template);
  if (bytes > maxTemplateBytes) {
    report(where, tooLarge('environment, command and labels together', bytes, maxTemplateBytes));
  }
}

function checkImage({ reference, digest }: TaskTemplate['image'], where: string, report: Report): void {
  if (reference === '') report(where, 'the image is missing');
  else if (/[\s\0]/.test(reference)) report(where, `"${reference}" is no image reference; it has white space`);
  else if (reference.length > maxImageReferenceLength) {
    report(where, `the image reference is longer than ${String(maxImageReferenceLength)} characters`);
  }
  if (digest !== '' && !digestPattern.test(digest))
    report(where, `"${digest}" is no digest; it is sha256: and 64 hex digits`);
}

function checkEnvironment(environment: Readonly<Record<string, string>>, where: string, report: Report): void {
  for (const [name, value] of Object.entries(environment)) {
    if (name === '') report(where, 'a variable has no name');
    else if (name.includes('=') || hasNul(name))
      report(where, `"${name}" is no variable name; it can have no = and no NUL byte`);
    if (hasNul(value)) report(where, `the value of ${name} has a NUL byte, which no program can be given`);
  }
}

function checkLabels(labels: Readonly<Record<string, string>>, where: string, report: Report): void {
  for (const [name, value] of Object.entries(labels)) {
    if (name === '') report(where, 'a label has no name');
    if (bytesOf(name) > maxLabelNameBytes)
      report(where, tooLarge('the name of a label', bytesOf(name), maxLabelNameBytes));
    if (bytesOf(value) > maxLabelValueBytes) {
      report(where, tooLarge(`the value of label ${name}`, bytesOf(value), maxLabelValueBytes));
    }
  }
}

function checkResources({ limits, reservations }: TaskTemplate, where: string, report: Report): void {
  const { cpuMillis, memoryBytes, pids } = limits;
  const max = Number.MAX_SAFE_INTEGER;
  if (cpuMillis !== undefined)
    checkInteger(cpuMillis, 1, max, `${where}.limits.cpus`, 'the limit in thousandths', report);
  if (memoryBytes !== undefined) {
    checkInteger(memoryBytes, minMemoryLimitBytes, max, `${where}.limits.memory`, 'the limit in bytes', report);
  }
  if (pids !== undefined) checkInteger(pids, 1, max, `${where}.limits.pids`, 'the limit', report);
  const atReservations = `${where}.reservations`;
  checkInteger(reservations.cpuMillis, 0, max, `${atReservations}.cpus`, 'the reservation in thousandths', report);
  checkInteger(reservations.memoryBytes, 0, max, `${atReservations}.memory`, 'the reservation in bytes', report);
  if (cpuMillis !== undefined && reservations.cpuMillis > cpuMillis) {
    report(`${atReservations}.cpus`, 'the reservation is larger than the limit');
  }
  if (memoryBytes !== undefined && reservations.memoryBytes > memoryBytes) {
    report(`${atReservations}.memory`, 'the reservation is larger than the limit');
  }
}

function checkInteger(value: number, min: number, max: number, where: string, what: string, report: Report): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return;
  const bounds = max === Number.MAX_SAFE_INTEGER ? `at least ${String(min)}` : `${String(min)} to ${String(max)}`;
  report(where, `${what} is ${String(value)}; it must be a whole number, ${bounds}`);
}

const hasNul = (text: string): boolean => text.includes('\0');

/** UTF-8. */
const bytesOf = (text: string): number => new TextEncoder().encode(text).length;

/** Of the value as JSON, which is no smaller than as protobuf: strings weigh the same, names of fields come on top. */
const sizeOf = (value: unknown): number => bytesOf(JSON.stringify(value));

const tooLarge = (what: string, bytes: number, limit: number): string =>
  `${what} takes ${String(bytes)} bytes; at most ${String(limit)}`;
