/** Reads the partitions of topics and their leaders, on a connection of its own. */
import type { Admin, PartitionMetadata } from 'kafkajs';
import type { Logger } from '../observability/logger';
import { kafkajsOf, type KafkaClient } from './kafkajs';

/** A connection that is made with the first read, and anew after `drop`. */
export class TopicMetadataReader {
  private admin: Admin | undefined;

  constructor(
    private readonly kafka: KafkaClient,
    private readonly logger: Logger,
  ) {}

  /**
   * The topic's partitions in the order of their numbers. A partition without a leader has a `leader`
   * below 0.
   *
   * @throws KafkaJSProtocolError for a topic that is missing or forbidden; other errors of kafkajs while
   *   no broker answers, after which the caller drops the connection
   */
  async read(topic: string): Promise<PartitionMetadata[]> {
    const admin = (this.admin ??= kafkajsOf(this.kafka).admin());
    await admin.connect();
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    return topics
      .flatMap(({ partitions }) => partitions)
      .sort((one, other) => one.partitionId - other.partitionId);
  }

  /** Drops the connection without waiting for it: it may hang with its broker. */
  drop(): void {
    this.admin?.disconnect().catch((error: unknown) => {
      this.logger.debug({ err: error }, 'Kafka metadata reader did not disconnect cleanly');
    });
    this.admin = undefined;
  }
}
