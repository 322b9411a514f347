/**
 * The shape of every command: decide, answer, publish. The caller gets its answer when the state is
 * decided, and does not wait for Kafka; the workflow does.
 */
import { allHandlersFinished, condition, defineUpdate, setHandler } from '@temporalio/workflow';
import { decisionUpdate } from '../../events/workflow-names';

/**
 * Runs `decide`, answers its outcome to everybody who has asked by update, then runs `publish`.
 *
 * @param decide changes the state, at most once however often it is tried
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
