/** Reads the state of the system once, for a command that ends with it. */
import type { Client } from '@temporalio/client';
import type { Pool } from 'pg';
import { eventTopics } from '../../events/topics';
import { postgresCheck, temporalCheck } from '../../platform/dependencies/probes';
import { checkReadiness, type Check } from '../../platform/dependencies/readiness';
import { redisStartupCheck } from '../../platform/dependencies/servers';
import type { KafkaClient } from '../../platform/kafka/client';
import { topicsCheck, watchTopics, type TopicWatch } from '../../platform/kafka/topic-watch';
import type { Logger } from '../../platform/observability/logger';
import type { Config } from '../../platform/process/config';
import { createPipelineState } from '../pipeline-state';
import { watchServers } from '../status/servers';
import { createSystemStatus, type SystemState } from '../status/status';

/** What is read. */
interface SystemStateSources {
  readonly config: Config;
  readonly pool: Pool;
  readonly kafka: KafkaClient;
  readonly temporal: Client;
  readonly logger: Logger;
}

const topicsWithinMs = 3_000;

/** The state now, within some seconds, whatever hangs. Never throws. */
export async function readSystemState(sources: SystemStateSources): Promise<SystemState> {
  const { config, pool, kafka, temporal, logger } = sources;
  const topics = watchTopics(kafka, eventTopics, logger, { pollTimeoutMs: topicsWithinMs });
  const servers = watchServers(async () => {
    await topics.poll();
    return checkReadiness(checksOf(sources, topics));
  });
  try {
    return await createSystemStatus({
      servers,
      database: pool,
      pipeline: createPipelineState({ kafka, temporal, groupId: config.BRIDGE_GROUP_ID }),
      temporal,
      explain: (error) => (error instanceof Error && error.message) || String(error),
      logger,
    }).read();
  } finally {
    servers.stop();
    await topics.stop();
  }
}

/** What the API depends on, as `/readyz` has it. */
function checksOf({ config, pool, temporal }: SystemStateSources, topics: TopicWatch): Check[] {
  return [
    postgresCheck(pool, { required: true }),
    temporalCheck(temporal, { required: true }),
    { name: 'kafka', required: false, probe: () => assertAnswers(topics) },
    // Without an answer nothing is known of them.
    ...(topics.answers() ? [topicsCheck(topics)] : []),
    { name: 'redis', required: false, probe: () => redisStartupCheck(config).run() },
  ];
}

async function assertAnswers(topics: TopicWatch): Promise<void> {
  if (!topics.answers()) throw new Error('does not answer');
}
