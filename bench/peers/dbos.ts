/**
 * DBOS as a collector: its receiver for kafkajs enqueues a workflow for each message, and the workflow
 * gives the event its effects. Its system database is one of its own on the same server.
 */
import { randomUUID } from 'node:crypto';
import { DBOS } from '@dbos-inc/dbos-sdk';
import { KafkaReceiver } from '@dbos-inc/kafkajs-receive';
import { logLevel, type KafkaMessage } from 'kafkajs';
import { eventTopics } from '../../events/topics';
import { runProcess } from '../../platform/process/lifecycle';
import { receiveEvent } from '../received-event';
import { createEffects } from './effects';
import { readPeerMode } from './mode';

const queueName = 'events';

// "Batching" is what the receiver's documentation offers for many messages: so many workflows are
// enqueued in one transaction; its default is 250.
// https://github.com/dbos-inc/dbos-transact-ts/tree/main/packages/kafkajs-receive#batching
const messagesPerEnqueue = 1_000;

// The queue's poll interval; the default is a second.
// https://docs.dbos.dev/typescript/reference/queues
const pollIntervalMs = 10;

const systemConnections = 20;

void runProcess('bridge', async (context) => {
  const { config, onStop } = context;
  const apply = createEffects('dbos', readPeerMode(), context);
  const handle = DBOS.registerWorkflow(
    // The effects are applied as they are, without `DBOS.runStep`: they can be repeated, so that a
    // record of the step would cost and bring nothing.
    (topic: string, partition: number, message: KafkaMessage) =>
      apply(receiveEvent(topic, partition, message)),
    { name: 'handle' },
  );
  DBOS.setConfig({
    name: 'collector',
    systemDatabaseUrl: systemDatabaseUrl(config.DATABASE_URL),
    systemDatabasePoolSize: systemConnections,
    logLevel: 'error',
    enableOTLP: false,
  });
  const receiver = new KafkaReceiver({ brokers: config.KAFKA_BROKERS, logLevel: logLevel.ERROR });
  receiver.registerConsumer(handle, [...eventTopics], {
    config: { groupId: config.BRIDGE_GROUP_ID, maxWaitTimeInMs: 500 },
    batchSize: messagesPerEnqueue,
    queueName,
  });
  onStop('DBOS', () => DBOS.shutdown());
  await DBOS.launch();
  // No limit of concurrency: a poll starts all that is there.
  await DBOS.registerQueue(queueName, { minPollingIntervalMs: pollIntervalMs });
  process.send?.({ ready: true });
});

/** Its commits need not wait for the disk, since those of the Temporal server here do not either. */
function systemDatabaseUrl(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  url.pathname = `/dbos_${randomUUID().slice(0, 8)}`;
  url.searchParams.set('options', '-c synchronous_commit=off');
  return url.href;
}
