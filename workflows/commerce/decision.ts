/**
 * The structure of every command: decide, respond, publish. The caller gets the outcome when the state
 * is decided, and does not wait for Kafka; the workflow does.
 */
import {
  allHandlersFinished,
  condition,
  defineUpdate,
  proxyActivities,
  setHandler,
} from '@temporalio/workflow';
import type { ShopActivities } from '../../activities/commerce';
import type { Aggregate } from '../../activities/commerce/publish';
import { decisionUpdate } from '../../events/workflow-names';
import { untilAcknowledged } from '../activity-policies';

const publication = proxyActivities<ShopActivities>(untilAcknowledged);

/**
 * Runs `decide`, returns its outcome to all waiting updates, then publishes the events of what changed.
 *
 * @param decide changes the state; idempotent
 * @param changed the aggregates whose events are in the outbox now; none where nothing changed
 */
export async function decideThenPublish<Outcome extends object>(
  decide: () => Promise<Outcome>,
  changed: (outcome: Outcome) => readonly Aggregate[],
): Promise<Outcome> {
  const decided: { outcome?: Outcome } = {};
  setHandler(defineUpdate<Outcome>(decisionUpdate), async () => {
    await condition(() => decided.outcome !== undefined);
    return decided.outcome!;
  });
  const outcome = await decide();
  decided.outcome = outcome;
  const aggregates = changed(outcome);
  if (aggregates.length > 0) await publication.publishOutbox(aggregates);
  await condition(allHandlersFinished);
  return outcome;
}
