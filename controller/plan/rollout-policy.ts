/** What follows from where an update is: which template new tasks get, under which policy tasks are replaced. */
import type { Service, ServiceSpec, TaskTemplate } from '../../proto/domain/service.ts';
import type { Rollout, RolloutState, UpdatePolicy } from '../../proto/domain/update.ts';
import type { Declaration, DraftService } from './draft.ts';

/** In these an update has failed: its template is given to no new task until it is declared anew. */
const fallenBack: ReadonlySet<RolloutState> = new Set(['paused', 'rolling-back', 'rolled-back', 'rollback-paused']);
/** In these nothing is replaced any more, and only people lead out of them. */
const stuck: ReadonlySet<RolloutState> = new Set(['paused', 'rolled-back', 'rollback-paused']);
const backwards: ReadonlySet<RolloutState> = new Set(['rolling-back', 'rolled-back', 'rollback-paused']);

export const hasFallenBack = (rollout: Rollout | undefined): boolean =>
  rollout !== undefined && fallenBack.has(rollout.state);

export const isStuck = (rollout: Rollout | undefined): boolean => rollout !== undefined && stuck.has(rollout.state);

/** Tasks are being replaced. */
export const isUnderWay = (rollout: Rollout | undefined): rollout is Rollout =>
  rollout?.state === 'updating' || rollout?.state === 'rolling-back';

export function policyInForce(spec: ServiceSpec, rollout: Rollout | undefined): UpdatePolicy {
  return rollout !== undefined && backwards.has(rollout.state) ? spec.rollback : spec.update;
}

/** The template that new tasks get, whatever they are made for: an update, a failure, a lost node, a larger size. */
export function templateOf(spec: ServiceSpec, record: Service | undefined): TaskTemplate {
  return (hasFallenBack(record?.rollout) ? record?.previous : undefined) ?? spec.template;
}

/** What is declared, with the template in force in place of the declared one; `judge-rollouts` decides once a pass. */
export const templateInForce = (service: DraftService): Declaration | undefined => service.inForce ?? service.declared;
