/** The Kafka topics of events, and the size limit of a message. */

/** Every topic that carries events. A message's key is the ID of the event's aggregate. */
export const eventTopics = ['catalog-events', 'order-events'] as const;

/** A topic that carries events. */
export type EventTopic = (typeof eventTopics)[number];

/** Largest value of a message that is accepted as an event, in bytes. */
export const maxEventBytes = 256 * 1024;

/** Partitions of each topic: the upper limit of bridges that can share the work. */
export const partitionsPerTopic = 6;

/**
 * The dead-letter topic: copies of parked messages, for other tools; the table `dead_letters` is
 * authoritative.
 */
export function deadLetterTopicOf(topic: string): string {
  return `${topic}.dlq`;
}
