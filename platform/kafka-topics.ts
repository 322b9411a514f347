/**
 * What can be wrong with one topic while the brokers are well, and kafkajs taught to tell it from the
 * other topics and partitions of a request: out of the box it throws what one of them has for all.
 */
import { createRequire } from 'node:module';
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

interface MetadataResponse {
  readonly topicMetadata: readonly {
    readonly partitionMetadata: readonly { partitionErrorCode: number }[];
  }[];
}

interface FetchResponse {
  readonly responses: readonly {
    readonly topicName: string;
    readonly partitions: readonly { readonly partition: number; readonly errorCode: number }[];
  }[];
}

interface ResponseModule<Response> {
  parse(response: Response): Promise<Response>;
}

const leaderNotAvailable = 5;

/**
 * Lets kafkajs know the topics of which a partition has no leader. Such a partition has the leader -1
 * then, and only what needs that one partition fails.
 */
function tolerateLeaderlessPartitions(response: ResponseModule<MetadataResponse>): void {
  const { parse } = response;
  response.parse = (metadata) => {
    for (const { partitionMetadata } of metadata.topicMetadata) {
      for (const partition of partitionMetadata) {
        if (partition.partitionErrorCode === leaderNotAvailable) partition.partitionErrorCode = 0;
      }
    }
    return parse(metadata);
  };
}

/** Lets the error of a fetch say which topic it is about. */
function nameTopicOfError(response: ResponseModule<FetchResponse>): void {
  const { parse } = response;
  response.parse = async (fetched) => {
    try {
      return await parse(fetched);
    } catch (error) {
      const { code } = error as { code?: number };
      const topic = fetched.responses.find(({ partitions }) =>
        partitions.some(({ errorCode }) => errorCode !== 0 && errorCode === code),
      )?.topicName;
      throw topic === undefined ? error : Object.assign(error as Error, { topic });
    }
  };
}

function eachVersion<Response>(
  request: 'metadata' | 'fetch',
  change: (response: ResponseModule<Response>) => void,
): void {
  // Not part of the package's interface: package.json pins the version that this was written for.
  const load = createRequire(__filename);
  const folder = `kafkajs/src/protocol/requests/${request}`;
  const { versions } = load(folder) as { versions: string[] };
  for (const version of versions) {
    change(load(`${folder}/v${version}/response`) as ResponseModule<Response>);
  }
}

eachVersion('metadata', tolerateLeaderlessPartitions);
eachVersion('fetch', nameTopicOfError);
