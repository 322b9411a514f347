/** The Kafka topics that events travel on, and what a message on them may weigh. */

/** Every topic that carries events. A message's key is the ID of the event's aggregate. */
export const eventTopics = ['catalog-events', 'order-events'] as const;

/** A topic that carries events. */
export type EventTopic = (typeof eventTopics)[number];

/** Largest value of a message that is accepted as an event, in bytes. */
export const maxEventBytes = 256 * 1024;

/** Partitions of each topic. They bound how many bridges can share the work. */
export const partitionsPerTopic = 6;

/** Where copies of a topic's parked messages go, for other tools; the table `dead_letters` is the truth. */
export function deadLetterTopicOf(topic: string): string {
  return `${topic}.dlq`;
}
