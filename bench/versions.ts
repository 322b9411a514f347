/** The versions of a run's servers, as reported by them. */
import { readConfig } from '../platform/process/config';
import { createLogger } from '../platform/observability/logger';
import { createPool } from '../platform/postgres/pool';
import { createRedis } from '../platform/redis/client';
import { createTemporalClient } from '../platform/temporal/client';

/** Reads the versions of the environment's servers. Kafka reports none. */
export async function serverVersions(): Promise<Record<string, string>> {
  const config = readConfig(process.env);
  const logger = createLogger('bench', 'fatal');
  const pool = createPool(config.DATABASE_URL, logger, { applicationName: 'bench' });
  const redis = createRedis(config.REDIS_URL, logger);
  const temporal = createTemporalClient(config);
  try {
    const { rows } = await pool.query<{ server_version: string }>('SHOW server_version');
    const info = await redis.info('server');
    const { serverVersion } = await temporal.workflowService.getSystemInfo({});
    return {
      postgres: rows[0]!.server_version,
      redis: /redis_version:(\S+)/.exec(info)?.[1] ?? 'unknown',
      temporal: serverVersion ?? 'unknown',
    };
  } finally {
    redis.disconnect();
    await Promise.all([pool.end(), temporal.connection.close()]);
  }
}
