/** The API with every dependency unavailable: real clients on a port where nothing listens. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { createServer } from '../api/server';
import { readConfig } from '../platform/process/config';
import { openSpool } from '../platform/disk/spool';
import { createKafka } from '../platform/kafka/client';
import { createKafkaSender } from '../platform/kafka/sender';
import { watchTopics } from '../platform/kafka/topic-watch';
import type { Logger } from '../platform/observability/logger';
import { createPool } from '../platform/postgres/pool';
import { createRedis } from '../platform/redis/client';
import { createTemporalClient } from '../platform/temporal/client';

/** A server for requests, and its cleanup. */
export interface DisconnectedServer {
  readonly app: FastifyInstance;
  stop(): Promise<void>;
}

/**
 * Creates the server. Requests need no port: `app.inject`.
 *
 * @param environment variables besides the addresses of the dependencies
 */
export async function createDisconnectedServer(
  environment: Readonly<Record<string, string>> = {},
  logger: Logger = pino({ level: 'silent' }),
): Promise<DisconnectedServer> {
  // Port 1 is reserved: nothing listens there.
  const config = readConfig({
    ...environment,
    DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing',
    REDIS_URL: 'redis://127.0.0.1:1',
    KAFKA_BROKERS: '127.0.0.1:1',
    TEMPORAL_ADDRESS: '127.0.0.1:1',
  });
  const pool = createPool(config.DATABASE_URL, logger, { applicationName: 'test' });
  const redis = createRedis(config.REDIS_URL, logger);
  const kafka = createKafka(config, logger, { clientId: 'test' });
  const sender = createKafkaSender(kafka, logger);
  const topics = watchTopics(kafka, [], logger);
  const temporal = createTemporalClient(config);
  const directory = await mkdtemp(path.join(tmpdir(), 'commerce-event-pipeline-spool-'));
  const spool = await openSpool(directory, logger, { maxBytes: config.VIEW_SPOOL_MAX_BYTES });
  const app = await createServer({
    ...{ config, logger, pool, redis, kafka, sender, spool, temporal, topics },
  });
  return {
    app,
    async stop() {
      await app.close();
      await temporal.connection.close();
      await sender.stop();
      await topics.stop();
      await spool.stop();
      await rm(directory, { recursive: true });
      redis.disconnect();
      await pool.end();
    },
  };
}
