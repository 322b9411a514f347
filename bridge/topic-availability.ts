/**
 * Which topics the bridge subscribes to: those that are there and may be read. One in trouble is left
 * out, so that it does not stop the other, and comes back by a new subscription.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { PartitionAssigners, type PartitionAssigner } from 'kafkajs';
import { topicProblemOf } from '../platform/kafka/topic-administration';
import type { TopicState, TopicWatch } from '../platform/kafka/topic-watch';

/** What a consumer subscribes to. */
export interface Subscription {
  readonly topics: readonly string[];
  /** Resolves when another consumer would read more, or should read less. */
  readonly outdated: Promise<void>;
  /** Nobody waits for it any more. */
  end(): void;
}

const lookAgainMs = 1_000;

/** The subscription to make now; waits until there is a topic to read. @throws when asked to stop */
export async function subscribeToReadable(
  watch: TopicWatch,
  stop: AbortSignal,
): Promise<Subscription> {
  for (;;) {
    await watch.poll();
    const states = watch.states();
    const topics = readableTopics(states);
    if (topics.length > 0) return { topics, ...whenOutdated(watch, states) };
    await sleep(lookAgainMs, undefined, { signal: stop });
  }
}

/** Those of the topics that can be read, if only in part. */
function readableTopics(states: readonly TopicState[]): string[] {
  return states.filter(isReadable).map(({ topic }) => topic);
}

/**
 * Leaves a topic out for a while when a consumer stopped since the brokers would not let it read
 * there: that they do not tell before.
 */
export function leaveOutRefused(watch: TopicWatch, error: unknown): void {
  if (topicProblemOf(error) !== 'forbidden') return;
  for (let each = error; each instanceof Error; each = each.cause) {
    const { topic } = each as { topic?: unknown };
    if (typeof topic === 'string') watch.markForbidden(topic);
  }
}

/**
 * Assigns only partitions that have a leader: kafkajs looks for the place to begin in all that are
 * new to the group at once, and reads nothing until it has found all of them.
 */
export const assignLed: PartitionAssigner = (config) => {
  const { cluster } = config;
  const findTopicPartitionMetadata: typeof cluster.findTopicPartitionMetadata = (topic) =>
    cluster.findTopicPartitionMetadata(topic).filter(({ leader }) => leader >= 0);
  const led = Object.create(cluster, {
    findTopicPartitionMetadata: { value: findTopicPartitionMetadata },
  }) as typeof cluster;
  return PartitionAssigners.roundRobin({ ...config, cluster: led });
};

function isReadable({ problem }: TopicState): boolean {
  return problem === undefined || problem === 'leaderless';
}

function whenOutdated(
  watch: TopicWatch,
  states: readonly TopicState[],
): Pick<Subscription, 'outdated' | 'end'> {
  const ended = new AbortController();
  const outdated = new Promise<void>((resolve) => {
    watch.onChange(() => {
      if (isOutdated(states, watch.states())) resolve();
    }, ended.signal);
  });
  return { outdated, end: () => ended.abort() };
}

function isOutdated(before: readonly TopicState[], now: readonly TopicState[]): boolean {
  if (readableTopics(before).join() !== readableTopics(now).join()) return true;
  // A partition that loses its leader is waited for by the consumer that reads it.
  return before.some(({ topic, leaderless }) => {
    const still = now.find((each) => each.topic === topic)?.leaderless ?? [];
    return leaderless.some((partition) => !still.includes(partition));
  });
}
