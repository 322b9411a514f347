/**
 * Which topics the bridge subscribes to: those that exist and are permitted. An unavailable topic is
 * excluded, so that it does not block the other, and returns with a new subscription.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { topicProblemOf } from '../platform/kafka/topic-administration';
import type { TopicState, TopicWatch } from '../platform/kafka/topic-watch';

/** What a consumer subscribes to. */
export interface Subscription {
  readonly topics: readonly string[];
  /** Resolves when the set of readable topics or partitions has changed. */
  readonly outdated: Promise<void>;
  /** Releases the subscription. */
  end(): void;
}

const pollIntervalMs = 1_000;

/** The current subscription; waits until a topic is readable. @throws when told to stop */
export async function subscribeToReadable(
  watch: TopicWatch,
  stop: AbortSignal,
): Promise<Subscription> {
  for (;;) {
    await watch.poll();
    const states = watch.states();
    const topics = readableTopics(states);
    if (topics.length > 0) return { topics, ...whenOutdated(watch, states) };
    await sleep(pollIntervalMs, undefined, { signal: stop });
  }
}

/** The topics that are readable, at least in part. */
function readableTopics(states: readonly TopicState[]): string[] {
  return states.filter(isReadable).map(({ topic }) => topic);
}

/**
 * Excludes a topic for a while after the brokers denied a consumer access to it: metadata does not show
 * that beforehand.
 */
export function excludeForbidden(watch: TopicWatch, error: unknown): void {
  if (topicProblemOf(error) !== 'forbidden') return;
  for (let each = error; each instanceof Error; each = each.cause) {
    const { topic } = each as { topic?: unknown };
    if (typeof topic === 'string') watch.markForbidden(topic);
  }
}

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
  // The consumer of a partition that loses its leader waits for the next one.
  return before.some(({ topic, leaderless }) => {
    const still = now.find((each) => each.topic === topic)?.leaderless ?? [];
    return leaderless.some((partition) => !still.includes(partition));
  });
}
