/**
 * The structure of every command: decide, respond, publish. The caller gets the outcome when the state
 * is decided, and does not wait for Kafka; the workflow does.
 */
import { allHandlersFinished, condition, defineUpdate, setHandler } from '@temporalio/workflow';
import { decisionUpdate } from '../../events/workflow-names';

/**
 * Runs `decide`, returns its outcome to all waiting updates, then runs `publish`.
 *
 * @param decide changes the state; idempotent
 * @param publish returns when the brokers have acknowledged the events of that change
 */
export async function decideThenPublish<Outcome extends object>(
  decide: () => Promise<Outcome>,
  publish: (outcome: Outcome) => Promise<void>,
): Promise<Outcome> {
  const decided: { outcome?: Outcome } = {};
  setHandler(defineUpdate<Outcome>(decisionUpdate), async () => {
    await condition(() => decided.outcome !== undefined);
    return decided.outcome!;
  });
  const outcome = await decide();
  decided.outcome = outcome;
  await publish(outcome);
  await condition(allHandlersFinished);
  return outcome;
}
