/**
 * The client library behind this folder. Every other room hands a `KafkaClient` to the functions of the
 * folder and sees nothing of kafkajs: ESLint holds that, and docs/decisions/0034-a-seam-at-kafka.md says
 * what another library would have to do in its place.
 */
import type { Kafka } from 'kafkajs';

declare const opaque: unique symbol;

/** A configured client. It connects when one of the functions that it is handed to does. */
export interface KafkaClient {
  readonly [opaque]: true;
}

/** What is to be handed out for a client of kafkajs. */
export function clientOf(kafka: Kafka): KafkaClient {
  return kafka as Kafka & KafkaClient;
}

/** The client of kafkajs that was handed out. For this folder, and for tests that play somebody else. */
export function kafkajsOf(client: KafkaClient): Kafka & KafkaClient {
  return client as Kafka & KafkaClient;
}
