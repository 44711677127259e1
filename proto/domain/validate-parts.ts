/** What a controller refuses of a template's mounts, files, networks and checks, and of a service's placement and updates. */
import { maxLeaseMs, minLeaseMs } from './fencing.ts';
import type { HealthCheck } from './health.ts';
import type { FileMount, Mount } from './mount.ts';
import type { Placement } from './placement.ts';
import type { ServiceSpec, StackSpec, TaskTemplate } from './service.ts';
import type { UpdatePolicy } from './update.ts';

type Report = (where: string, message: string) => void;

/** Longer names are folders nobody can type. */
const maxResourceNameLength = 128;
const maxMountsPerService = 64;
const maxConstraints = 64;
const maxSpread = 16;
/** PATH_MAX of Linux, with the closing NUL. */
const maxPathLength = 4_095;
/** Kernel ids have 32 bits; runtimes refuse the upper half. */
const maxOwner = 2 ** 31 - 1;
/** A day. */
const maxWaitMs = 86_400_000;
/** A network, a volume, a config, a secret. */
const resourceNamePattern = /^[a-zA-Z0-9][a-zA-Z0-9._-]*$/;
const nodeAttributePattern =
  /^node\.(id|hostname|platform\.(os|arch)|labels\.[a-zA-Z0-9]([a-zA-Z0-9._/-]{0,126}[a-zA-Z0-9])?)$/;

export const resourceNameRule =
  `expected a name of letters, digits, ".", "_" and "-" that begins with one of the first two and has at most ` +
  `${String(maxResourceNameLength)} of them`;

export const isResourceName = (name: string): boolean =>
  resourceNamePattern.test(name) && name.length <= maxResourceNameLength;

/** RFC 1123 2.1, and the underscores that people use. */
export const isAlias = (name: string): boolean =>
  name.length <= 253 &&
  /^[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)*$/.test(name);

export const attributeRule =
  'there are node.id, node.hostname, node.platform.os, node.platform.arch and node.labels.NAME';

export const isNodeAttribute = (attribute: string): boolean => nodeAttributePattern.test(attribute);

export function checkParts(spec: StackSpec, report: Report): void {
  const networks = new Set<string>();
  for (const { key, name } of spec.networks) {
    networks.add(name);
    if (!isResourceName(name)) report(`networks.${key}`, resourceNameRule);
  }
  for (const { key, name } of spec.volumes) if (!isResourceName(name)) report(`volumes.${key}`, resourceNameRule);
  for (const service of spec.services) {
    const where = `services.${service.name}`;
    checkNetworks(service.template, networks, `${where}.networks`, report);
    checkMounts(service.template, where, report);
    if (service.template.healthCheck !== undefined)
      checkHealth(service.template.healthCheck, `${where}.healthcheck`, report);
    checkWait(service.template.drainDelayMs, `${where}.x-frota.drainDelay`, report);
    checkFencing(service, where, report);
    checkPlacement(service.placement, `${where}.deploy.placement`, report);
    checkUpdate(service.update, `${where}.deploy.update_config`, report);
    checkUpdate(service.rollback, `${where}.deploy.rollback_config`, report);
    if (service.rollback.failureAction === 'rollback') {
      report(
        `${where}.deploy.rollback_config`,
        'a rollback can\'t be rolled back; its failure_action is "pause" or "continue"',
      );
    }
  }
}

function checkNetworks({ networks }: TaskTemplate, declared: ReadonlySet<string>, where: string, report: Report): void {
  if (networks.length === 0) report(where, 'a service is in one network at least');
  for (const { network, aliases } of networks) {
    if (!declared.has(network)) report(where, `the stack declares no network "${network}"`);
    for (const alias of aliases) if (!isAlias(alias)) report(where, `"${alias}" is no host name`);
  }
  if (new Set(networks.map(({ network }) => network)).size !== networks.length)
    report(where, 'a network is named twice');
}

function checkMounts({ mounts, files }: TaskTemplate, where: string, report: Report): void {
  if (mounts.length + files.length > maxMountsPerService) {
    report(
      where,
      `${String(mounts.length + files.length)} mounts are too many; at most ${String(maxMountsPerService)}`,
    );
  }
  const targets = new Set<string>();
  for (const mount of mounts) checkMount(mount, `${where}.volumes`, report);
  for (const file of files) checkFile(file, `${where}.${file.kind}s`, report);
  for (const { target } of [...mounts, ...files]) {
    // `/a//b/./c/` and `/a/b/c` are one place.
    const plain = target.replace(/\/(\.?\/)+/g, '/').replace(/\/\.?$/, '');
    if (plain === '') report(where, "the container's root can't be mounted over");
    if (targets.has(plain)) report(where, `two mounts have the target "${target}"`);
    targets.add(plain);
  }
}

function checkMount(mount: Mount, where: string, report: Report): void {
  checkPath(mount.target, where, 'the target', report);
  if (mount.kind === 'bind') checkPath(mount.source, where, 'the source', report);
  if (mount.kind === 'volume') {
    if (mount.volume !== undefined && !isResourceName(mount.volume)) report(where, resourceNameRule);
    const { subpath } = mount;
    if (
      subpath?.split('/').some((part) => part === '..' || part.includes('\0')) === true ||
      subpath?.startsWith('/') === true
    ) {
      report(where, `"${subpath}" leads out of the volume; a subpath is relative and has no ".."`);
    }
  }
  if (mount.kind === 'tmpfs') {
    checkBits(mount.mode, where, report);
    if (mount.sizeBytes !== undefined && mount.sizeBytes < 4_096) report(where, 'a tmpfs has at least 4096 bytes');
  }
}

function checkFile(file: FileMount, where: string, report: Report): void {
  checkPath(file.target, where, 'the target', report);
  checkBits(file.mode, where, report);
  checkOwner(file.uid, where, 'uid', report);
  checkOwner(file.gid, where, 'gid', report);
  if (!isResourceName(file.name)) report(where, resourceNameRule);
}

function checkOwner(id: number | undefined, where: string, what: string, report: Report): void {
  if (id === undefined || (Number.isInteger(id) && id >= 0 && id <= maxOwner)) return;
  report(where, `${what} is ${String(id)}; it is a whole number, 0 to ${String(maxOwner)}`);
}

function checkPath(path: string, where: string, what: string, report: Report): void {
  if (!path.startsWith('/') || path.includes('\0')) report(where, `${what} "${path}" is no absolute path`);
  else if (path.split('/').includes('..')) report(where, `${what} "${path}" has ".." in it; write the path it means`);
  else if (path.length > maxPathLength) report(where, `${what} is longer than ${String(maxPathLength)} characters`);
}

function checkBits(mode: number | undefined, where: string, report: Report): void {
  if (mode !== undefined && !(Number.isInteger(mode) && mode >= 0 && mode <= 0o7777)) {
    report(where, `${String(mode)} are no permission bits`);
  }
}

function checkHealth(check: HealthCheck, where: string, report: Report): void {
  const [form, ...rest] = check.test ?? ['NONE'];
  const fits = form === 'NONE' || (form === 'CMD' && rest.length > 0) || (form === 'CMD-SHELL' && rest.length === 1);
  if (!fits) report(where, 'the test is ["NONE"], ["CMD", program, …] or ["CMD-SHELL", line]');
  if (rest.some((word) => word.includes('\0')))
    report(where, 'an argument has a NUL byte, which no program can be given');
  for (const ms of [check.intervalMs, check.timeoutMs, check.startPeriodMs, check.startIntervalMs]) {
    if (ms !== undefined) checkWait(ms, where, report);
  }
}

function checkFencing(
  { template: { fenceLeaseMs }, update, rollback }: ServiceSpec,
  where: string,
  report: Report,
): void {
  if (fenceLeaseMs === undefined) return;
  if (!(Number.isSafeInteger(fenceLeaseMs) && fenceLeaseMs >= minLeaseMs && fenceLeaseMs <= maxLeaseMs)) {
    const bounds = `${String(minLeaseMs / 1_000)}s to ${String(maxLeaseMs / 1_000)}s`;
    report(`${where}.x-frota.lease`, `a lease is ${bounds}; this one is ${String(fenceLeaseMs)} ms`);
  }
  for (const [key, { order }] of [
    ['update_config', update],
    ['rollback_config', rollback],
  ] as const) {
    if (order !== 'start-first') continue;
    report(`${where}.deploy.${key}.order`, 'a fenced service never runs a slot twice; write "stop-first"');
  }
}

function checkWait(ms: number, where: string, report: Report): void {
  if (!(Number.isSafeInteger(ms) && ms >= 0 && ms <= maxWaitMs)) {
    report(where, `${String(ms)} ms is no time to wait; it is 0 to a day`);
  }
}

function checkPlacement(placement: Placement, where: string, report: Report): void {
  if (placement.constraints.length > maxConstraints) report(where, `at most ${String(maxConstraints)} constraints`);
  if (placement.spread.length > maxSpread) report(where, `at most ${String(maxSpread)} preferences`);
  const { maxReplicasPerNode } = placement;
  if (maxReplicasPerNode !== undefined && !(Number.isSafeInteger(maxReplicasPerNode) && maxReplicasPerNode >= 1)) {
    report(where, `max_replicas_per_node is ${String(maxReplicasPerNode)}; it is a whole number of at least 1`);
  }
  for (const attribute of [...placement.constraints.map((each) => each.attribute), ...placement.spread]) {
    if (!isNodeAttribute(attribute)) report(where, `"${attribute}" is nothing that a node has; ${attributeRule}`);
  }
}

function checkUpdate(policy: UpdatePolicy, where: string, report: Report): void {
  checkWait(policy.delayMs, where, report);
  checkWait(policy.monitorMs, where, report);
  if (!(policy.maxFailureRatio >= 0 && policy.maxFailureRatio <= 1)) report(where, 'max_failure_ratio is 0 to 1');
}
