/**
 * A process of its own that counts views and commits after each. `COUNT_IN` names how, `COUNT_FROM` the
 * topic; every `CRASH_EVERY`th view it is killed between its two steps.
 */
import { createKafka } from '../platform/kafka/client';
import { kafkajsOf } from '../platform/kafka/kafkajs';
import { runProcess } from '../platform/process/lifecycle';
import { createPool } from '../platform/postgres/pool';
import { createRedis } from '../platform/redis/client';
import { waysToCount, type WayToCount } from './counting';

void runProcess('counting-consumer', async ({ config, logger }) => {
  const count = waysToCount[process.env['COUNT_IN'] as WayToCount];
  const topic = process.env['COUNT_FROM']!;
  const crashEvery = Number(process.env['CRASH_EVERY']);
  const pool = createPool(config.DATABASE_URL, logger, { applicationName: 'counting-consumer' });
  const redis = createRedis(config.REDIS_URL, logger);
  const consumer = kafkajsOf(
    createKafka(config, logger, { clientId: 'counting-consumer' }),
  ).consumer({
    groupId: topic,
    // Its successor waits for the session timeout of the killed one.
    sessionTimeout: 6_000,
    heartbeatInterval: 1_000,
  });
  let seen = 0;
  const crash = (): void => {
    seen += 1;
    if (seen === crashEvery) process.kill(process.pid, 'SIGKILL');
  };
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    async eachMessage({ partition, message }) {
      await count({ pool, redis }, message.value!.toString(), crash);
      const offset = (BigInt(message.offset) + 1n).toString();
      await consumer.commitOffsets([{ topic, partition, offset }]);
    },
  });
});
