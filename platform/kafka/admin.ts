/** Kafka's administration, connected for one piece of work. */
import type { Admin } from 'kafkajs';
import { kafkajsOf, type KafkaClient } from './kafkajs';

/** Connects, does the work and disconnects. @throws when Kafka is unavailable, and what `work` throws */
export async function withAdmin<Result>(
  kafka: KafkaClient,
  work: (admin: Admin) => Promise<Result>,
): Promise<Result> {
  const admin = kafkajsOf(kafka).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}
