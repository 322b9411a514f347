/**
 * A bridge as it must not be: it commits what it has read, and starts the workflows afterwards. For
 * a test of what that loses.
 */
import { createDispatcher } from '../../bridge/dispatcher';
import { createFinishedWork } from '../../bridge/finished-work';
import { createInFlight } from '../../bridge/in-flight';
import { createWorkflowStarter } from '../../bridge/workflow-starter';
import { eventTopics } from '../../events/topics';
import { createKafka } from '../../platform/kafka/client';
import { kafkajsOf } from '../../platform/kafka/kafkajs';
import { batchOf, fetchWholeBatches } from '../../platform/kafka/protocol';
import { runProcess } from '../../platform/process/lifecycle';
import { createPool } from '../../platform/postgres/pool';
import { createTemporalClient } from '../../platform/temporal/client';

void runProcess('commit-first-bridge', async ({ config, logger }) => {
  const finishedWork = createFinishedWork(
    createPool(config.DATABASE_URL, logger, { applicationName: 'commit-first-bridge' }),
  );
  const dispatcher = createDispatcher(
    {
      starter: createWorkflowStarter({ client: createTemporalClient(config), logger }),
      inFlight: createInFlight({ finishedWork, logger }, { limit: 200 }),
      finishedWork,
      repeats: { count: () => Promise.resolve() },
      logger,
    },
    'per-event',
  );
  const consumer = kafkajsOf(
    createKafka(config, logger, { clientId: 'commit-first-bridge' }),
  ).consumer({
    groupId: config.BRIDGE_GROUP_ID,
    // Its successor waits for so long for the one that was killed.
    sessionTimeout: 6_000,
    heartbeatInterval: 1_000,
  });
  fetchWholeBatches();
  await consumer.connect();
  await consumer.subscribe({ topics: [...eventTopics], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    partitionsConsumedConcurrently: 12,
    async eachBatch({ batch, commitOffsetsIfNecessary }) {
      const { topic, partition, messages } = batch;
      const offset = String(Number(batch.lastOffset()) + 1);
      await commitOffsetsIfNecessary({
        topics: [{ topic, partitions: [{ partition, offset }] }],
      });
      const slice = messages.flatMap((message) => {
        const fetched = batchOf(message);
        if ('kind' in fetched) return [];
        return [...fetched.open().entries]
          .filter((entry) => entry.kind !== 'skipped')
          .map((entry) => ({ topic, partition, entry }));
      });
      await dispatcher.dispatch(slice, new AbortController().signal);
    },
  });
});
