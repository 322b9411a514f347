/** What can be wrong with one topic while the brokers are well. */
import { KafkaJSProtocolError } from 'kafkajs';

/** Why a topic cannot be used. */
export type TopicProblem = 'missing' | 'forbidden' | 'leaderless';

/** The problem of one topic that an error tells of; undefined when it is about something else. */
export function topicProblemOf(error: unknown): TopicProblem | undefined {
  for (let each = error; each instanceof Error; each = each.cause) {
    const problem = each instanceof KafkaJSProtocolError ? problems[each.type] : undefined;
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** What is wrong and what to do, to follow the topic's name. */
export function describeTopicProblem(problem: TopicProblem): string {
  return descriptions[problem];
}

const problems: Readonly<Record<string, TopicProblem>> = {
  UNKNOWN_TOPIC_OR_PARTITION: 'missing',
  INVALID_TOPIC_EXCEPTION: 'missing',
  TOPIC_AUTHORIZATION_FAILED: 'forbidden',
  LEADER_NOT_AVAILABLE: 'leaderless',
};

const descriptions: Readonly<Record<TopicProblem, string>> = {
  missing: 'does not exist. Create it with `npm run migrate`.',
  forbidden:
    'is forbidden to this process. Give its user the right to describe it, and to read or write it.',
  leaderless: 'has partitions without a leader. Start the brokers that hold their replicas.',
};
