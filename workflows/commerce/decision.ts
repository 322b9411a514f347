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
  workflowInfo,
} from '@temporalio/workflow';
import type { ShopActivities } from '../../activities/commerce';
import type { Aggregate } from '../../activities/commerce/publish';
import { expiresAfterMsMemo, isExpired, type Expired } from '../../events/command-expiry';
import { decisionUpdate } from '../../events/workflow-names';
import { untilAcknowledged } from '../activity-policies';

const publication = proxyActivities<ShopActivities>(untilAcknowledged);

/**
 * Runs `decide`, returns its outcome to all waiting updates, then publishes the events of what changed.
 * A command that has expired is not decided.
 *
 * @param decide changes the state; idempotent
 * @param changed the aggregates whose events are in the outbox now; none where nothing changed
 */
export async function decideThenPublish<Outcome extends object>(
  decide: () => Promise<Outcome>,
  changed: (outcome: Outcome) => readonly Aggregate[],
): Promise<Outcome | Expired> {
  const decided: { outcome?: Outcome | Expired } = {};
  setHandler(defineUpdate<Outcome | Expired>(decisionUpdate), async () => {
    await condition(() => decided.outcome !== undefined);
    return decided.outcome!;
  });
  const outcome = hasExpired() ? ({ kind: 'expired' } as const) : await decide();
  decided.outcome = outcome;
  const aggregates = isExpired(outcome) ? [] : changed(outcome);
  if (aggregates.length > 0) await publication.publishOutbox(aggregates);
  await condition(allHandlersFinished);
  return outcome;
}

/** Its start, the first task as scheduled, and as started: an earlier attempt would have left more. */
const eventsBeforeFirstAttempt = 3;

/**
 * Whether a worker begins too late, by Temporal's clock. Never so if an earlier attempt was begun: that one
 * may have changed the state before its worker died.
 */
function hasExpired(): boolean {
  const { memo, startTime, historyLength } = workflowInfo();
  const expiresAfterMs = memo?.[expiresAfterMsMemo];
  return (
    typeof expiresAfterMs === 'number' &&
    historyLength === eventsBeforeFirstAttempt &&
    Date.now() - startTime.getTime() > expiresAfterMs
  );
}
