/** Empty workflows with as many steps as those of the pipeline: the cost of Temporal itself. */
import {
  allHandlersFinished,
  condition,
  defineUpdate,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
} from '@temporalio/workflow';

/** The activities: an empty one, and one that counts completed workflows. */
export interface BareActivities {
  nothing(): Promise<void>;
  done(): Promise<void>;
}

const local = proxyLocalActivities<BareActivities>({ startToCloseTimeout: '3 seconds' });
const ordinary = proxyActivities<BareActivities>({ startToCloseTimeout: '10 seconds' });

/** One empty local activity: the limit of a workflow for each event. */
export async function oneLocalActivity(): Promise<void> {
  await local.done();
}

/** The update that answers when the order would be decided. */
export const decision = defineUpdate<string>('decision');

/** As many workflow tasks and activities as an order that is approved. */
export async function asManyTasksAsAnOrder(): Promise<void> {
  let decided = false;
  setHandler(decision, async () => {
    await condition(() => decided);
    return 'decided';
  });
  await local.nothing();
  await local.nothing();
  await local.nothing();
  decided = true;
  await ordinary.nothing();
  await condition(allHandlersFinished);
}
