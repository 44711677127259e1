/** String unions in the domain, numbers on the wire. A member forgotten on either side does not compile. */
import { FrotaError } from '../base/errors.ts';
import type { Availability, NodeState } from '../domain/node.ts';
import type { AssignedTask } from '../domain/assignment.ts';
import type { DrillKind, ProbeKind } from '../domain/drill.ts';
import type { FileMount } from '../domain/mount.ts';
import type { Constraint } from '../domain/placement.ts';
import type { Protocol, RestartPolicy, ServiceSpec } from '../domain/service.ts';
import type { Dependency } from '../domain/stack-parts.ts';
import type { DesiredState, Health, TaskState } from '../domain/task.ts';
import type { ChangeKind } from '../domain/revision.ts';
import type { RolloutState, UpdatePolicy } from '../domain/update.ts';
import { frota } from '../gen/frota.js';

const wire = frota.v1;

export interface EnumConverter<Domain extends string, Wire extends number> {
  toWire(value: Domain): Wire;
  /** @throws FrotaError `corrupt` for UNSPECIFIED and for numbers of a later version. */
  fromWire(value: Wire, where: string): Domain;
}

/** Every number in `Wire` but 0 (UNSPECIFIED) must be in the table: what is left over is asked for as an argument. */
function enumConverter<Domain extends string, Wire extends number>() {
  return <const Table extends Record<Domain, Wire>>(
    table: Table,
    ..._forgotten: [Exclude<`${Wire}`, `${Table[Domain]}` | '0'>] extends [never] ? [] : [missing: never]
  ): EnumConverter<Domain, Wire> => {
    const byNumber = new Map<number, Domain>(
      Object.entries<Wire>(table).map(([key, number]) => [number, key as Domain]),
    );
    return {
      toWire: (value) => table[value],
      fromWire: (value, where) => {
        const found = byNumber.get(value);
        if (found === undefined) throw new FrotaError('corrupt', `${where} has the unknown value ${String(value)}`);
        return found;
      },
    };
  };
}

export const protocolEnum = enumConverter<Protocol, frota.v1.Protocol>()({
  tcp: wire.Protocol.PROTOCOL_TCP,
  udp: wire.Protocol.PROTOCOL_UDP,
});

export const restartConditionEnum = enumConverter<RestartPolicy['condition'], frota.v1.RestartCondition>()({
  any: wire.RestartCondition.RESTART_CONDITION_ANY,
  'on-failure': wire.RestartCondition.RESTART_CONDITION_ON_FAILURE,
  none: wire.RestartCondition.RESTART_CONDITION_NONE,
});

export const taskStateEnum = enumConverter<TaskState, frota.v1.TaskState>()({
  new: wire.TaskState.TASK_STATE_NEW,
  pending: wire.TaskState.TASK_STATE_PENDING,
  assigned: wire.TaskState.TASK_STATE_ASSIGNED,
  accepted: wire.TaskState.TASK_STATE_ACCEPTED,
  preparing: wire.TaskState.TASK_STATE_PREPARING,
  ready: wire.TaskState.TASK_STATE_READY,
  starting: wire.TaskState.TASK_STATE_STARTING,
  running: wire.TaskState.TASK_STATE_RUNNING,
  complete: wire.TaskState.TASK_STATE_COMPLETE,
  shutdown: wire.TaskState.TASK_STATE_SHUTDOWN,
  failed: wire.TaskState.TASK_STATE_FAILED,
  rejected: wire.TaskState.TASK_STATE_REJECTED,
  remove: wire.TaskState.TASK_STATE_REMOVE,
  orphaned: wire.TaskState.TASK_STATE_ORPHANED,
});

export const desiredStateEnum = enumConverter<DesiredState, frota.v1.DesiredState>()({
  running: wire.DesiredState.DESIRED_STATE_RUNNING,
  shutdown: wire.DesiredState.DESIRED_STATE_SHUTDOWN,
  remove: wire.DesiredState.DESIRED_STATE_REMOVE,
});

export const healthEnum = enumConverter<Health, frota.v1.Health>()({
  none: wire.Health.HEALTH_NONE,
  starting: wire.Health.HEALTH_STARTING,
  healthy: wire.Health.HEALTH_HEALTHY,
  unhealthy: wire.Health.HEALTH_UNHEALTHY,
});

export const availabilityEnum = enumConverter<Availability, frota.v1.Availability>()({
  active: wire.Availability.AVAILABILITY_ACTIVE,
  pause: wire.Availability.AVAILABILITY_PAUSE,
  drain: wire.Availability.AVAILABILITY_DRAIN,
});

export const nodeStateEnum = enumConverter<NodeState, frota.v1.NodeState>()({
  ready: wire.NodeState.NODE_STATE_READY,
  suspect: wire.NodeState.NODE_STATE_SUSPECT,
  unreachable: wire.NodeState.NODE_STATE_UNREACHABLE,
  down: wire.NodeState.NODE_STATE_DOWN,
});

export const assignedStateEnum = enumConverter<AssignedTask['desired'], frota.v1.AssignedState>()({
  running: wire.AssignedState.ASSIGNED_STATE_RUNNING,
  draining: wire.AssignedState.ASSIGNED_STATE_DRAINING,
  shutdown: wire.AssignedState.ASSIGNED_STATE_SHUTDOWN,
});

export const operatorEnum = enumConverter<Constraint['operator'], frota.v1.Operator>()({
  '==': wire.Operator.OPERATOR_EQUAL,
  '!=': wire.Operator.OPERATOR_UNEQUAL,
});

export const updateOrderEnum = enumConverter<UpdatePolicy['order'], frota.v1.UpdateOrder>()({
  'start-first': wire.UpdateOrder.UPDATE_ORDER_START_FIRST,
  'stop-first': wire.UpdateOrder.UPDATE_ORDER_STOP_FIRST,
});

export const failureActionEnum = enumConverter<UpdatePolicy['failureAction'], frota.v1.FailureAction>()({
  pause: wire.FailureAction.FAILURE_ACTION_PAUSE,
  continue: wire.FailureAction.FAILURE_ACTION_CONTINUE,
  rollback: wire.FailureAction.FAILURE_ACTION_ROLLBACK,
});

export const serviceModeEnum = enumConverter<ServiceSpec['mode'], frota.v1.ServiceMode>()({
  replicated: wire.ServiceMode.SERVICE_MODE_REPLICATED,
  global: wire.ServiceMode.SERVICE_MODE_GLOBAL,
});

export const contentKindEnum = enumConverter<FileMount['kind'], frota.v1.ContentKind>()({
  config: wire.ContentKind.CONTENT_KIND_CONFIG,
  secret: wire.ContentKind.CONTENT_KIND_SECRET,
});

export const dependencyConditionEnum = enumConverter<Dependency['condition'], frota.v1.DependencyCondition>()({
  started: wire.DependencyCondition.DEPENDENCY_CONDITION_STARTED,
  healthy: wire.DependencyCondition.DEPENDENCY_CONDITION_HEALTHY,
  completed: wire.DependencyCondition.DEPENDENCY_CONDITION_COMPLETED,
});

export const changeKindEnum = enumConverter<ChangeKind, frota.v1.ChangeKind>()({
  apply: wire.ChangeKind.CHANGE_KIND_APPLY,
  scale: wire.ChangeKind.CHANGE_KIND_SCALE,
  undo: wire.ChangeKind.CHANGE_KIND_UNDO,
  restart: wire.ChangeKind.CHANGE_KIND_RESTART,
});

export const rolloutStateEnum = enumConverter<RolloutState, frota.v1.RolloutState>()({
  updating: wire.RolloutState.ROLLOUT_STATE_UPDATING,
  completed: wire.RolloutState.ROLLOUT_STATE_COMPLETED,
  paused: wire.RolloutState.ROLLOUT_STATE_PAUSED,
  'rolling-back': wire.RolloutState.ROLLOUT_STATE_ROLLING_BACK,
  'rolled-back': wire.RolloutState.ROLLOUT_STATE_ROLLED_BACK,
  'rollback-paused': wire.RolloutState.ROLLOUT_STATE_ROLLBACK_PAUSED,
});

export const drillKindEnum = enumConverter<DrillKind, frota.v1.DrillKind>()({
  'node-loss': wire.DrillKind.DRILL_KIND_NODE_LOSS,
  'node-freeze': wire.DrillKind.DRILL_KIND_NODE_FREEZE,
  'agent-kill': wire.DrillKind.DRILL_KIND_AGENT_KILL,
  'container-kill': wire.DrillKind.DRILL_KIND_CONTAINER_KILL,
  'controller-kill': wire.DrillKind.DRILL_KIND_CONTROLLER_KILL,
  partition: wire.DrillKind.DRILL_KIND_PARTITION,
});

export const probeKindEnum = enumConverter<ProbeKind, frota.v1.ProbeKind>()({
  http: wire.ProbeKind.PROBE_KIND_HTTP,
  tcp: wire.ProbeKind.PROBE_KIND_TCP,
});
