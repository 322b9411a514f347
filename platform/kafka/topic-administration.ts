/** Problems of a single topic while the brokers are available. */
import { KafkaJSProtocolError } from 'kafkajs';

/** Why a topic is unavailable. */
export type TopicProblem = 'missing' | 'forbidden' | 'leaderless' | 'under-replicated';

/** The topic problem that an error reports; undefined for any other error. */
export function topicProblemOf(error: unknown): TopicProblem | undefined {
  for (let each = error; each instanceof Error; each = each.cause) {
    const problem = each instanceof KafkaJSProtocolError ? problems[each.type] : undefined;
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** The problem and its remedy, as a sentence that follows the topic's name. */
export function describeTopicProblem(problem: TopicProblem): string {
  return descriptions[problem];
}

const problems: Readonly<Record<string, TopicProblem>> = {
  UNKNOWN_TOPIC_OR_PARTITION: 'missing',
  INVALID_TOPIC_EXCEPTION: 'missing',
  TOPIC_AUTHORIZATION_FAILED: 'forbidden',
  LEADER_NOT_AVAILABLE: 'leaderless',
  NOT_ENOUGH_REPLICAS: 'under-replicated',
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: 'under-replicated',
};

const descriptions: Readonly<Record<TopicProblem, string>> = {
  missing: 'does not exist. Create it with `npm run migrate`.',
  forbidden:
    'is forbidden to this process. Give its user the right to describe it, and to read or write it.',
  leaderless: 'has partitions without a leader. Start the brokers that hold their replicas.',
  'under-replicated':
    'has partitions with fewer replicas in sync than min.insync.replicas. Start the brokers that hold the others.',
};
