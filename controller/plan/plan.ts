/** One pass: from what is declared, stored and heard to the changes that bring the one closer to the other. */
import { changesOf } from './changes.ts';
import { releaseServices } from './dependencies.ts';
import { deriveServices, dropServices } from './derive-services.ts';
import { openDraft } from './draft.ts';
import type { Draft } from './draft.ts';
import { drainNodes } from './drain-nodes.ts';
import { judgeNodes } from './judge-nodes.ts';
import { judgeRollouts } from './judge-rollouts.ts';
import { forgottenPins, revisePins } from './pins.ts';
import { placeTasks } from './place-tasks.ts';
import { reap } from './reap.ts';
import { unusedContents } from './reap-contents.ts';
import { reconcileServices } from './reconcile-service.ts';
import { updateServices } from './rolling-update.ts';
import type { Plan, PlanInput, Snapshot } from './snapshot.ts';

/**
 * Deterministic for equal inputs. Applied whole, with no new status, the next plan has no changes. A new stack goes
 * to assigned tasks in one pass, and a lost node's slots get their new nodes in the pass that gives up the old ones.
 */
export const plan = (snapshot: Snapshot, input: PlanInput): Plan => planOf(openDraft(snapshot, input));

/** The stages, over a draft that was just opened. */
export function planOf(draft: Draft): Plan {
  deriveServices(draft);
  judgeNodes(draft);
  judgeRollouts(draft);
  reconcileServices(draft);
  releaseServices(draft);
  revisePins(draft);
  placeTasks(draft);
  // After placing: a slot that is still without a node then has no room, and what an update stops is replaced later anyway.
  updateServices(draft);
  drainNodes(draft);
  if (draft.placesAgain) placeTasks(draft);
  reap(draft);
  dropServices(draft);
  const changes = [...changesOf(draft), ...forgottenPins(draft), ...unusedContents(draft)];
  const { reasons, problems, wakeAtMs } = draft;
  return { changes, reasons, problems, ...(wakeAtMs === undefined ? {} : { wakeAtMs }) };
}
