/** Step: duplicates. With at-least-once delivery any message may be delivered again. */
import { readConsumerLag } from '../../platform/kafka/consumer-lag';
import { createKafkaSender, type Delivery } from '../../platform/kafka/sender';
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
  const { page } = world;
  const before = await selectRows(world, productId);
  const runsBefore = workflows.map(({ runId }) => runId);
  const copies = await sendAgain(world, messages);
  page.say(`a producer sends all ${messages.length} messages again, byte for byte`);
  const [first, last] = [copies[0]!, copies.at(-1)!];
  page.show(`${catalogTopic}, partition ${first.partition}, offsets from ${first.offset}`);
  await waitUntilCommitted(world, last.partition, last.offset + 1);
  const after = await selectRows(world, productId);
  page.table([
    { '': 'before', ...summaryOf(before) },
    { '': 'after', ...summaryOf(after) },
  ]);
  confirm('what the collector holds', after, before);
  confirm('the runs of the workflows', await findRuns(world, workflows), runsBefore);
  page.confirmed('the bridge has read and committed them, and nothing has changed');
}

async function sendAgain(
  { kafka, logger }: World,
  messages: readonly CarriedMessage[],
): Promise<Delivery[]> {
  const sender = createKafkaSender(kafka, logger);
  try {
    const copies = await sender.send(
      messages.map(({ topic, message: { key, value, headers } }) => ({
        topic,
        key,
        value,
        headers,
      })),
    );
    confirm('the partition of the copies', copies[0]?.partition, messages[0]?.partition);
    return copies;
  } finally {
    await sender.stop();
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
  await eventually(signal, 'the bridge has committed the copies', async () => {
    const lag = await readConsumerLag(kafka, config.BRIDGE_GROUP_ID, [catalogTopic]);
    const offset = lag.find((each) => each.partition === partition)?.committed ?? 0;
    confirm(`whether offset ${nextOffset} is reached by ${offset}`, offset >= nextOffset, true);
  });
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
