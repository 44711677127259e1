/** The cluster in a few lines, for the person who looks at a failure. */
import { isEnded, slotName, taskState } from '../../proto/domain/task.ts';
import type { World } from './world.ts';

export function describeWorld(world: World): readonly string[] {
  const stored = world.store.snapshot();
  const liveness = world.front()?.liveness.states();
  const reasons = world.front()?.core?.loop.reasons();
  const nodes = world.machines.map((machine) => {
    const { cpuMillis, memoryBytes } = machine.capacity;
    const running = [...machine.containers.values()]
      .filter(({ state }) => state.kind === 'running')
      .map(({ id }) => id);
    const availability = stored.nodes.get(machine.nodeId)?.value.availability ?? 'unknown';
    const state = liveness?.get(machine.nodeId)?.state ?? 'not heard';
    const power = machine.powered ? '' : ', without power';
    return `${machine.name} ${state}, ${availability}${power}, ${String(cpuMillis)}m ${String(memoryBytes)}: ${running.join(' ')}`;
  });
  const services = [...stored.stacks].flatMap(([stack, { value }]) =>
    value.spec.services.map(({ name, replicas, restart, template }) => {
      const { cpuMillis, memoryBytes } = template.reservations;
      return `${stack}/${name} × ${String(replicas)}, ${JSON.stringify(restart)}, ${template.image.reference} ${String(cpuMillis)}m ${String(memoryBytes)} ${JSON.stringify(template.labels)}`;
    }),
  );
  const tasks = [...stored.tasks.values()].flatMap(({ value: task }) => {
    const status = stored.statuses.get(task.id);
    const state = taskState(task, status);
    if (isEnded(state) && task.desired !== 'running') return [];
    const why = reasons?.get(task.id) ?? status?.reason ?? task.desiredReason ?? '';
    const where = `${task.stack}/${slotName(task.service, task.slot)} on ${task.nodeId ?? 'no node'}`;
    return [`${task.id} ${where}: ${state}, wanted ${task.desired}, ${task.template.image.reference} ${why}`];
  });
  return [...nodes, ...services, ...tasks.sort()];
}
