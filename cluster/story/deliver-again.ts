/** Step: duplicates. With at-least-once delivery any message may be delivered again. */
import type { Kafka } from 'kafkajs';
import { confirm, eventually } from './confirm';
import { selectRows, type CollectedRows } from './find-resulting-rows';
import { findRuns, type RanWorkflow } from './find-workflows';
import { catalogTopic, type CarriedMessage } from './read-from-kafka';
import type { StoryProduct } from './register-product';
import type { World } from './world';

/** Sends the messages again, byte for byte, and confirms that nothing has changed. */
export async function deliverAgain(
  world: World,
  { productId }: StoryProduct,
  messages: readonly CarriedMessage[],
  workflows: readonly RanWorkflow[],
): Promise<void> {
  const { page, kafka } = world;
  const before = await selectRows(world, productId);
  const runsBefore = workflows.map(({ runId }) => runId);
  const copies = await produceAgain(kafka, messages);
  page.say(`a plain producer sends all ${messages.length} messages again, byte for byte`);
  page.show(`${catalogTopic}, partition ${copies.partition}, offsets from ${copies.firstOffset}`);
  await waitUntilCommitted(world, copies.partition, copies.firstOffset + messages.length);
  const after = await selectRows(world, productId);
  page.table([
    { '': 'before', ...summaryOf(before) },
    { '': 'after', ...summaryOf(after) },
  ]);
  confirm('what the collector holds', after, before);
  confirm('the runs of the workflows', await findRuns(world, workflows), runsBefore);
  page.confirmed('the bridge has read and committed them, and nothing has changed');
}

interface Copies {
  readonly partition: number;
  readonly firstOffset: number;
}

async function produceAgain(kafka: Kafka, messages: readonly CarriedMessage[]): Promise<Copies> {
  const producer = kafka.producer();
  await producer.connect();
  try {
    const [batch] = await producer.send({
      topic: catalogTopic,
      acks: -1,
      messages: messages.map(({ message: { key, value, headers = {} } }) => ({
        key,
        value,
        headers,
      })),
    });
    confirm('the partition of the copies', batch?.partition, messages[0]?.partition);
    return { partition: Number(batch?.partition), firstOffset: Number(batch?.baseOffset) };
  } finally {
    await producer.disconnect();
  }
}

/**
 * The bridge commits a message once Temporal has accepted it; the committed offset is the next
 * one's.
 */
async function waitUntilCommitted(
  { kafka, config, signal }: World,
  partition: number,
  nextOffset: number,
): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    await eventually(signal, 'the bridge has committed the copies', async () => {
      const query = { groupId: config.BRIDGE_GROUP_ID, topics: [catalogTopic] };
      const [committed] = await admin.fetchOffsets(query);
      const offset = Number(
        committed?.partitions.find((each) => each.partition === partition)?.offset,
      );
      confirm(`whether offset ${nextOffset} is reached by ${offset}`, offset >= nextOffset, true);
    });
  } finally {
    await admin.disconnect();
  }
}

function summaryOf({ eventLog, eventHandled, productMetrics }: CollectedRows) {
  const [{ view_count, stock, stock_version } = {}] = productMetrics;
  return {
    event_log: eventLog.length,
    event_handled: eventHandled.length,
    view_count,
    stock,
    stock_version,
  };
}
