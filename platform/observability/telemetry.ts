/**
 * The Prometheus metrics, in one registry a process. All are declared here and recorded where things
 * happen.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Every metric of this process. */
export const metricsRegistry = new Registry();

/** The content type of {@link renderMetrics}. */
export const metricsContentType = metricsRegistry.contentType;

/** The kinds of process that serve metrics. */
export type ProcessKind = 'api' | 'worker:commerce' | 'worker:collector' | 'bridge';

/** Metrics from another registry, in Prometheus' text format. */
export type MetricsSource = () => Promise<string>;

const sources: MetricsSource[] = [];

/** Adds the metrics of another registry, such as that of Temporal's runtime. */
export function addMetricsSource(source: MetricsSource): void {
  sources.push(source);
}

/** All metrics in Prometheus' text format. A failing source is omitted and counted. */
export async function renderMetrics(): Promise<string> {
  const texts = await Promise.all(
    sources.map((source) =>
      source().catch(() => {
        metricsSourceFailures.inc();
        return '';
      }),
    ),
  );
  return [await metricsRegistry.metrics(), ...texts].join('\n');
}

/**
 * Adds Node.js' own metrics, and removes those that these kinds of process never record. Call once a
 * process.
 */
export function prepareMetrics(...kinds: readonly ProcessKind[]): void {
  collectDefaultMetrics({ register: metricsRegistry });
  for (const [name, counting] of Object.entries(countedBy)) {
    if (!counting.some((kind) => kinds.includes(kind))) metricsRegistry.removeSingleMetric(name);
  }
}

/** Findings of the delivery audit. */
type AuditFinding =
  /** An event in the outbox that was overdue for publication. */
  | 'unpublished'
  /**
   * A published event that is lost: neither logged nor parked, and no longer in Kafka; published again.
   */
  | 'republished'
  /** A logged event that was neither handled nor parked. */
  | 'unhandled'
  /** A message below the committed offset that was neither logged nor parked; read again. */
  | 'unaccounted'
  /** A notification that was overdue for delivery, and that no workflow was delivering. */
  | 'undelivered'
  /** An order that was overdue for its decision. */
  | 'undecided';

/**
 * Findings of the delivery audit. A finding counts again on each run that still sees it, except an
 * event that is still unpublished.
 */
export const auditFindings = new Counter<'finding'>({
  name: 'commerce_audit_findings_total',
  help: 'Problems that the delivery audit found and repaired, by kind of finding.',
  labelNames: ['finding'] satisfies 'finding'[],
  registers: [metricsRegistry],
});

export const auditConfirmations = new Counter({
  name: 'commerce_audit_confirmed_total',
  help: 'Published events whose delivery the audit confirmed: in the audit log or among the discarded dead letters.',
  registers: [metricsRegistry],
});

const findings: readonly AuditFinding[] = [
  'unpublished',
  'republished',
  'unhandled',
  'unaccounted',
  'undelivered',
  'undecided',
];
// Initialised to zero: an alert on an increase needs the zero before it.
for (const finding of findings) auditFindings.inc({ finding }, 0);

/** Workflows in flight of this bridge, as of its last poll. */
export const bridgeInFlight = new Gauge({
  name: 'commerce_bridge_in_flight',
  help: 'Workflows in flight: started by this bridge and not known to have finished.',
  registers: [metricsRegistry],
});

/** Limit of the workflows in flight: at this limit for long, the collector's workers are too slow. */
export const bridgeSlots = new Gauge({
  name: 'commerce_bridge_slots',
  help: 'Limit of the workflows in flight of this bridge.',
  registers: [metricsRegistry],
});

/** Why a bridge has paused consumption. */
export type BridgePause =
  /** Backpressure: the limit of workflows in flight is reached. */
  | 'no-slot'
  /** Temporal is unavailable or rejects starts. */
  | 'temporal-away'
  /** An operator holds all of it, a topic or a partition. */
  | 'held'
  /** An operator bounds the rate. */
  | 'throttled';

/** Whether the bridge has paused consumption, 1 or 0, by reason. */
export const bridgePaused = new Gauge<'reason'>({
  name: 'commerce_bridge_paused',
  help: 'Whether this bridge has paused consumption (1) or not (0), by reason.',
  labelNames: ['reason'] satisfies 'reason'[],
  registers: [metricsRegistry],
});

/** Consumer lag by partition. Every bridge reports all partitions. */
export const consumerLag = new Gauge<'topic' | 'partition'>({
  name: 'commerce_consumer_lag',
  help: 'Consumer lag: messages in a partition that the consumer group has not committed.',
  labelNames: ['topic', 'partition'] satisfies ('topic' | 'partition')[],
  registers: [metricsRegistry],
});

const registers = [metricsRegistry];
const partitionLabels = ['topic', 'partition'] as const;

export const oldestUncommittedAge = new Gauge({
  name: 'commerce_consumer_oldest_uncommitted_age_seconds',
  help: 'Age of the oldest uncommitted message in a partition; 0 when there is none.',
  labelNames: partitionLabels,
  registers,
});

/** How long a partition has been stalled; `bridge/standstill.ts` says when it counts as stalled. */
export const consumerStalled = new Gauge({
  name: 'commerce_consumer_stalled_seconds',
  help: 'How long a partition has been stalled: messages wait, but the consumer group commits nothing; 0 while it makes progress.',
  labelNames: partitionLabels,
  registers,
});

export const partitionHeldBack = new Gauge({
  name: 'commerce_consumer_held_back',
  help: 'Whether an open transaction of a producer blocks the consumer group in a partition (1) or not (0).',
  labelNames: partitionLabels,
  registers,
});

export const consumerLastFetch = new Gauge({
  name: 'commerce_consumer_last_fetch_timestamp_seconds',
  help: "When this bridge's consumer last completed a fetch, in seconds since 1970; 0 before the first.",
  registers,
});

export const consumerLastCommit = new Gauge({
  name: 'commerce_consumer_last_commit_timestamp_seconds',
  help: 'When this bridge last committed offsets, in seconds since 1970; 0 before the first.',
  registers,
});

export const consumersReplaced = new Counter({
  name: 'commerce_consumers_replaced_total',
  help: 'Consumers of this bridge that stopped or stalled and were replaced.',
  registers,
});

export const vanishedOffsets = new Counter({
  name: 'commerce_vanished_offsets_total',
  help: 'Offsets that vanished before they were read (lower bound), by topic and reason.',
  labelNames: ['topic', 'reason'] as const,
  registers,
});

/** Whether a topic is available in all its partitions; no value while Kafka is unavailable. */
export const topicAvailable = new Gauge({
  name: 'commerce_topic_available',
  help: 'Whether a topic is available: it exists, is permitted and has a leader for each partition (1) or not (0).',
  labelNames: ['topic'] as const,
  registers,
});

// From a cache hit to a command that waits for its decision.
const requestBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
// From the usual latency to an event that waited out an outage.
const travelBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800];
const workBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export const httpRequestDuration = new Histogram({
  name: 'commerce_http_request_duration_seconds',
  help: 'Duration of HTTP requests, by method, route (never the path) and status.',
  labelNames: ['method', 'route', 'status'] as const,
  buckets: requestBuckets,
  registers,
});

export const idempotencyKeys = new Counter({
  name: 'commerce_idempotency_keys_total',
  help: 'Requests with an Idempotency-Key: claimed, replayed, under_way (409) or other_request (422).',
  labelNames: ['outcome'] as const,
  registers,
});

export const views = new Counter({
  name: 'commerce_views_total',
  help: 'Product views: sent directly, sent from the spool, handed to a workflow at a stop, or dropped.',
  labelNames: ['way'] as const,
  registers,
});

export const viewsUnspooled = new Counter({
  name: 'commerce_views_unspooled_total',
  help: 'Product views answered without the spool having them: it is full, or its disk fails or hangs.',
  registers,
});

export const viewSpoolFaults = new Counter({
  name: 'commerce_view_spool_faults_total',
  help: 'Groups of views that the spool cannot read any more, and files of it that are gone.',
  labelNames: ['fault'] as const,
  registers,
});

let readSpoolBytes = (): number => 0;

/** Makes the size of the view spool a metric. */
export function measureViewSpool(readBytes: () => number): void {
  readSpoolBytes = readBytes;
}

new Gauge({
  name: 'commerce_view_spool_bytes',
  help: 'Bytes of files in which this process keeps views until Kafka has acknowledged them.',
  registers,
  collect() {
    this.set(readSpoolBytes());
  },
});

export const cacheLookups = new Counter({
  name: 'commerce_cache_lookups_total',
  help: 'Cache lookups of product details: hit, miss, or failed.',
  labelNames: ['result'] as const,
  registers,
});

export const cacheFills = new Counter({
  name: 'commerce_cache_fills_total',
  help: 'Cache fills: stored, or refused because an eviction voided the lease.',
  labelNames: ['result'] as const,
  registers,
});

export const cacheEvictions = new Counter({
  name: 'commerce_cache_evictions_total',
  help: 'Product details evicted from the cache because an event changed what they show.',
  registers,
});

export const cacheEvictionsGivenUp = new Counter({
  name: 'commerce_cache_evictions_given_up_total',
  help: 'Product details that were not evicted before they expired, since Redis was away.',
  registers,
});

/** Usage counts of a connection pool. */
export interface PoolUse {
  readonly totalCount: number;
  readonly idleCount: number;
  readonly waitingCount: number;
  readonly ended: boolean;
}

const pools = new Set<{ readonly name: string; readonly use: PoolUse }>();

/** Reports a pool's usage at each scrape, until the pool has ended. */
export function watchPool(name: string, use: PoolUse): void {
  pools.add({ name, use });
}

function readPools(read: (name: string, use: PoolUse) => void): void {
  for (const watched of pools) {
    if (watched.use.ended) pools.delete(watched);
    else read(watched.name, watched.use);
  }
}

/** PostgreSQL connections, by pool. */
new Gauge({
  name: 'commerce_postgres_pool_connections',
  help: 'Connections to PostgreSQL, by pool and state (idle or in_use).',
  labelNames: ['pool', 'state'] as const,
  registers,
  collect() {
    this.reset();
    readPools((pool, { totalCount, idleCount }) => {
      this.inc({ pool, state: 'idle' }, idleCount);
      this.inc({ pool, state: 'in_use' }, totalCount - idleCount);
    });
  },
});

/** Work that waits for a connection of a pool. */
new Gauge({
  name: 'commerce_postgres_pool_waiting',
  help: 'Statements and transactions waiting for a PostgreSQL connection, by pool.',
  labelNames: ['pool'] as const,
  registers,
  collect() {
    this.reset();
    readPools((pool, { waitingCount }) => this.inc({ pool }, waitingCount));
  },
});

export const kafkaSends = new Counter({
  name: 'commerce_kafka_sends_total',
  help: 'Kafka produce requests: acknowledged, failed, or rejected as too_large.',
  labelNames: ['outcome'] as const,
  registers,
});

export const kafkaSendMessages = new Histogram({
  name: 'commerce_kafka_send_messages',
  help: 'Messages in an acknowledged Kafka produce request.',
  buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000],
  registers,
});

export const kafkaSendDuration = new Histogram({
  name: 'commerce_kafka_send_duration_seconds',
  help: 'From sending a Kafka produce request to its acknowledgement by all in-sync replicas.',
  buckets: workBuckets,
  registers,
});

export const eventsPublished = new Counter({
  name: 'commerce_events_published_total',
  help: 'Events acknowledged by Kafka for the first time, by type.',
  labelNames: ['type'] as const,
  registers,
});

export const publicationDelay = new Histogram({
  name: 'commerce_event_publication_delay_seconds',
  help: 'From writing an event to the outbox to marking it as published.',
  buckets: travelBuckets,
  registers,
});

export const outboxUnpublished = new Gauge({
  name: 'commerce_outbox_unpublished_events',
  help: 'Unpublished events in the outbox. Every worker:commerce reports the same number.',
  registers,
});

export const outboxOldestAge = new Gauge({
  name: 'commerce_outbox_oldest_unpublished_age_seconds',
  help: 'Age of the oldest unpublished event in the outbox; 0 when there is none.',
  registers,
});

export const ordersDecided = new Counter({
  name: 'commerce_orders_decided_total',
  help: 'Orders decided: confirmed, cancelled (by cause), or rejected as out_of_stock or unknown_product.',
  labelNames: ['outcome'] as const,
  registers,
});

export const payments = new Counter({
  name: 'commerce_payments_total',
  help: 'Attempts to charge or refund: captured, declined, refunded, unavailable or in_progress (retried), impossible.',
  labelNames: ['outcome'] as const,
  registers,
});
// Initialised to zero: an alert on an increase needs the zero before it.
for (const outcome of [
  'captured',
  'declined',
  'refunded',
  'unavailable',
  'in_progress',
  'impossible',
]) {
  payments.inc({ outcome }, 0);
}

export const activityDuration = new Histogram({
  name: 'commerce_activity_duration_seconds',
  help: 'Duration of activity attempts, local ones included, by name and outcome (completed, failed, cancelled).',
  labelNames: ['activity', 'outcome'] as const,
  buckets: workBuckets,
  registers,
});

export const eventsHandled = new Counter({
  name: 'commerce_events_handled_total',
  help: 'Events whose effects were applied, each once, by type.',
  labelNames: ['type'] as const,
  registers,
});

export const eventLatency = new Histogram({
  name: 'commerce_event_latency_seconds',
  help: "End-to-end latency: from an event's own time to the commit of its effects, by type.",
  labelNames: ['type'] as const,
  buckets: travelBuckets,
  registers,
});

export const duplicatesRefused = new Counter({
  name: 'commerce_event_duplicates_refused_total',
  help: 'Duplicate events rejected, by guard: workflow_id (Temporal) or event_handled (PostgreSQL).',
  labelNames: ['guard'] as const,
  registers,
});

export const projectionsNotBuilt = new Gauge({
  name: 'commerce_projections_not_built',
  help: 'Projections that wait to be built by rebuild-metrics. Every worker:collector reports the same number.',
  registers,
});

export const deadLettersParked = new Counter({
  name: 'commerce_dead_letters_parked_total',
  help: 'Messages parked as dead letters, each once, by reason.',
  labelNames: ['reason'] as const,
  registers,
});

export const deadLettersWaiting = new Gauge({
  name: 'commerce_dead_letters_waiting',
  help: 'Dead letters waiting for an operator: neither redriven nor discarded. Every worker:collector reports the same number.',
  registers,
});

export const notificationAttempts = new Counter({
  name: 'commerce_notification_attempts_total',
  help: 'Attempts to deliver a notification to its receiver, by notification and result: delivered, unavailable (retried), or refused for good.',
  labelNames: ['notification', 'result'] as const,
  registers,
});

export const notificationsPending = new Gauge({
  name: 'commerce_notifications_pending',
  help: 'Notifications that wait to be delivered. Every worker:collector reports the same number.',
  registers,
});

export const notificationsOldestAge = new Gauge({
  name: 'commerce_notifications_oldest_pending_age_seconds',
  help: 'Age of the oldest notification that waits to be delivered; 0 when there is none.',
  registers,
});

/** When the last verification of each outcome ended; the newest of them is the last one of all. */
export const lastVerification = new Gauge({
  name: 'commerce_verification_last_timestamp_seconds',
  help: 'When the last verification of each outcome ended, in seconds since 1970; 0 when there is none: holds, differs, or incomplete. Every worker:collector reports the same number.',
  labelNames: ['outcome'] as const,
  registers,
});

const metricsSourceFailures = new Counter({
  name: 'commerce_metrics_source_failures_total',
  help: "Scrapes without the metrics of a failing source, such as Temporal's runtime.",
  registers,
});

// An alert has to see that none of the audit's activities is called at all.
activityDuration.zero({ activity: 'findUnpublished', outcome: 'completed' });
// Known label values: initialised to zero, like the findings.
for (const outcome of ['claimed', 'replayed', 'under_way', 'other_request'])
  idempotencyKeys.inc({ outcome }, 0);
for (const way of ['direct', 'spool', 'workflow', 'dropped']) views.inc({ way }, 0);
for (const fault of ['damaged_group', 'missing_file']) viewSpoolFaults.inc({ fault }, 0);
for (const result of ['hit', 'miss', 'failed']) cacheLookups.inc({ result }, 0);
for (const result of ['stored', 'refused']) cacheFills.inc({ result }, 0);
for (const outcome of ['acknowledged', 'failed', 'too_large']) kafkaSends.inc({ outcome }, 0);
for (const guard of ['workflow_id', 'event_handled']) duplicatesRefused.inc({ guard }, 0);
for (const outcome of ['holds', 'differs', 'incomplete']) lastVerification.set({ outcome }, 0);

const workers: readonly ProcessKind[] = ['worker:commerce', 'worker:collector'];
const senders: readonly ProcessKind[] = ['api', ...workers];

/** The kinds of process that record a metric; all of them record one that is not named here. */
export const countedBy: Readonly<Record<string, readonly ProcessKind[]>> = {
  commerce_http_request_duration_seconds: ['api'],
  commerce_idempotency_keys_total: ['api'],
  commerce_views_total: ['api'],
  commerce_views_unspooled_total: ['api'],
  commerce_view_spool_bytes: ['api'],
  commerce_view_spool_faults_total: ['api'],
  commerce_cache_lookups_total: ['api'],
  commerce_cache_fills_total: ['api'],
  commerce_cache_evictions_total: ['worker:collector'],
  commerce_cache_evictions_given_up_total: ['worker:collector'],
  commerce_kafka_sends_total: senders,
  commerce_kafka_send_messages: senders,
  commerce_kafka_send_duration_seconds: senders,
  commerce_events_published_total: ['api', 'worker:commerce'],
  commerce_event_publication_delay_seconds: ['worker:commerce'],
  commerce_outbox_unpublished_events: ['worker:commerce'],
  commerce_outbox_oldest_unpublished_age_seconds: ['worker:commerce'],
  commerce_orders_decided_total: ['worker:commerce'],
  commerce_payments_total: ['worker:commerce'],
  commerce_activity_duration_seconds: workers,
  commerce_events_handled_total: ['worker:collector'],
  commerce_event_latency_seconds: ['worker:collector'],
  commerce_event_duplicates_refused_total: ['worker:collector', 'bridge'],
  commerce_projections_not_built: ['worker:collector'],
  commerce_verification_last_timestamp_seconds: ['worker:collector'],
  commerce_dead_letters_parked_total: ['worker:collector'],
  commerce_dead_letters_waiting: ['worker:collector'],
  commerce_notification_attempts_total: ['worker:collector'],
  commerce_notifications_pending: ['worker:collector'],
  commerce_notifications_oldest_pending_age_seconds: ['worker:collector'],
  commerce_audit_findings_total: workers,
  commerce_audit_confirmed_total: ['worker:commerce'],
  commerce_bridge_in_flight: ['bridge'],
  commerce_bridge_slots: ['bridge'],
  commerce_bridge_paused: ['bridge'],
  commerce_consumer_lag: ['bridge'],
  commerce_consumer_oldest_uncommitted_age_seconds: ['bridge'],
  commerce_consumer_stalled_seconds: ['bridge'],
  commerce_consumer_held_back: ['bridge'],
  commerce_consumer_last_fetch_timestamp_seconds: ['bridge'],
  commerce_consumer_last_commit_timestamp_seconds: ['bridge'],
  commerce_consumers_replaced_total: ['bridge'],
  commerce_vanished_offsets_total: ['worker:collector'],
};
