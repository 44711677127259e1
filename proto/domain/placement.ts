/** One condition on a node, as in `deploy.placement.constraints`: `node.labels.zone == north`. */
export interface Constraint {
  /** `node.id`, `node.hostname`, `node.platform.os`, `node.platform.arch` or `node.labels.NAME`. */
  readonly attribute: string;
  readonly operator: '==' | '!=';
  readonly value: string;
}

/** Where the tasks of a service may run, and how they are spread. */
export interface Placement {
  /** All of them must hold. */
  readonly constraints: readonly Constraint[];
  /** Attributes over whose values tasks are spread evenly, the first first (`deploy.placement.preferences`). */
  readonly spread: readonly string[];
  /** Absent: no bound. */
  readonly maxReplicasPerNode?: number;
}

export const anywhere: Placement = { constraints: [], spread: [] };

/** What comes after it is the label's name. */
export const labelAttributePrefix = 'node.labels.';

/** As a person would write it. */
export const constraintText = ({ attribute, operator, value }: Constraint): string =>
  `${attribute} ${operator} ${value}`;
