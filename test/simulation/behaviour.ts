/** What the programs in simulated containers do. A template says which by its label; the world decides the times by chance. */

export const behaviourLabel = 'sim.behaviour';

export const behaviours = [
  'steady', // runs until it is told to stop, and then stops soon
  'stubborn', // runs for ever, whatever it is told: only SIGKILL ends it
  'crashing', // ends with a failure after a while, again and again, until calm
  'job', // does its work and ends with 0
  'ailing', // after a while its health check fails for good, until calm
  'unstartable', // its process can't be started, until calm
] as const;

export type Behaviour = (typeof behaviours)[number];

export function behaviourOf(labels: Readonly<Record<string, string>>): Behaviour {
  return behaviours.find((behaviour) => behaviour === labels[behaviourLabel]) ?? 'steady';
}
