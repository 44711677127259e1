/** What of a stack is as it is wanted, as far as its rows tell. Imports nothing: verbs ask before they need any rendering. */
import type { StackProgress } from '../../proto/codec/control.ts';
import type { TaskView } from '../../proto/domain/views.ts';

/** What is wanted and has completed is not started again: where it would be, the next attempt is wanted instead. */
export const isSettled = (task: TaskView): boolean =>
  task.desiredState === 'running' &&
  (task.state === 'complete' || (task.state === 'running' && task.health !== 'unhealthy'));

/** How many slots of the service have completed for good. */
export const completedOf = ({ tasks }: StackProgress, service: string): number =>
  tasks.filter((task) => task.service === service && task.state === 'complete' && isSettled(task)).length;

/** Tasks worth a line: those that do not run yet, and those that still run though they should not. */
export const unsettledTasks = (progress: StackProgress): readonly TaskView[] =>
  progress.tasks.filter((task) => !isSettled(task));
