/**
 * The effects of events as the peers apply them: the very activities of the collector, which take
 * any number of events at once and do no harm when they are repeated.
 */
import { createAuditLogActivities } from '../../activities/collector/audit-log';
import { createCacheActivities } from '../../activities/collector/cache-eviction';
import { createMetricsActivities } from '../../activities/collector/product-metrics';
import type { ReceivedEvent } from '../../events/received';
import type { ProcessContext } from '../../platform/process/lifecycle';
import { createPool } from '../../platform/postgres/pool';
import { createProductCache } from '../../cache/product-cache';
import { createRedis } from '../../platform/redis/client';
import { createGroupCommit, type GroupCommitOptions } from './group-commit';
import type { PeerMode } from './mode';

/** Gives one event its effects. */
export type ApplyEffects = (event: ReceivedEvent) => Promise<void>;

// As many groups as there are connections, so that none waits for one until it gives up.
const maxConnections = 16;
const groups: Readonly<Record<PeerMode, GroupCommitOptions>> = {
  event: { groupsAtOnce: maxConnections, itemsPerGroup: 1 },
  batch: { groupsAtOnce: 4, itemsPerGroup: 500 },
};

/** The effects, each event's by itself, or those of the events that are under way together at once. */
export function createEffects(
  name: string,
  mode: PeerMode,
  { config, logger, onStop }: Pick<ProcessContext, 'config' | 'logger' | 'onStop'>,
): ApplyEffects {
  const pool = createPool(config.DATABASE_URL, logger, {
    applicationName: name,
    maxConnections,
  });
  onStop('the database pool', () => pool.end());
  const redis = createRedis(config.REDIS_URL, logger);
  onStop('the connection to Redis', async () => redis.disconnect());
  const { writeAuditLog } = createAuditLogActivities({ pool });
  const { updateMetrics } = createMetricsActivities({ pool });
  const { evictCache } = createCacheActivities({ cache: createProductCache(redis) });
  const applyAll = async (events: readonly ReceivedEvent[]): Promise<void> => {
    await writeAuditLog(events);
    const eventIds = events.map(({ eventId }) => eventId);
    await Promise.all([updateMetrics({ eventIds, workflowId: name }), evictCache(events)]);
  };
  return createGroupCommit(applyAll, groups[mode]);
}
