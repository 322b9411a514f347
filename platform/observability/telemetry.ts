/**
 * What a process counts, for Prometheus. One registry a process; a metric is declared here, next to
 * the others, and counted where the thing happens.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Every metric of this process. */
export const metricsRegistry = new Registry();

/** The media type of what {@link renderMetrics} renders. */
export const metricsContentType = metricsRegistry.contentType;

/** The kinds of process that serve metrics. */
export type ProcessKind = 'api' | 'worker:commerce' | 'worker:collector' | 'bridge';

/** A text in Prometheus' format that is served with this process's own metrics. */
export type MetricsSource = () => Promise<string>;

const sources: MetricsSource[] = [];

/** Has the metrics of something that counts by itself, such as Temporal's runtime, served too. */
export function addMetricsSource(source: MetricsSource): void {
  sources.push(source);
}

/** All metrics in Prometheus' text format. A source that fails is left out, and the failure counted. */
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
 * Adds Node.js' own metrics, and takes away those that a process of these kinds never counts. Once a
 * process.
 */
export function prepareMetrics(...kinds: readonly ProcessKind[]): void {
  collectDefaultMetrics({ register: metricsRegistry });
  for (const [name, counting] of Object.entries(countedBy)) {
    if (!counting.some((kind) => kinds.includes(kind))) metricsRegistry.removeSingleMetric(name);
  }
}

/** What the delivery audit can find. */
type AuditFinding =
  /** An event in the outbox that nobody had published. */
  | 'unpublished'
  /** A published event that can come no more, and was neither logged nor parked; sent again. */
  | 'republished'
  /** A logged event that was neither handled nor parked. */
  | 'unhandled'
  /** An order that had not been decided for long. */
  | 'undecided';

/**
 * What the delivery audit has found. A look that finds the same thing again counts again, but for an
 * event that is still unpublished.
 */
export const auditFindings = new Counter<'finding'>({
  name: 'commerce_audit_findings_total',
  help: 'What the delivery audit found and set right, by kind of finding.',
  labelNames: ['finding'] satisfies 'finding'[],
  registers: [metricsRegistry],
});

/** How many published events the delivery audit has found to have arrived. */
export const auditConfirmations = new Counter({
  name: 'commerce_audit_confirmed_total',
  help: 'Published events that the delivery audit found in the audit log or among the discarded dead letters.',
  registers: [metricsRegistry],
});

const findings: readonly AuditFinding[] = ['unpublished', 'republished', 'unhandled', 'undecided'];
// Present from the start: an alarm on an increase needs the zero before it.
for (const finding of findings) auditFindings.inc({ finding }, 0);

/** Workflows that this bridge has started and that have not finished, as far as it has looked. */
export const bridgeInFlight = new Gauge({
  name: 'commerce_bridge_in_flight',
  help: 'Workflows that this bridge has started and that have not finished, as far as it knows.',
  registers: [metricsRegistry],
});

/** The bound on them: in flight at this bound for long, the collector's workers are too slow. */
export const bridgeSlots = new Gauge({
  name: 'commerce_bridge_slots',
  help: 'Most workflows that this bridge lets be unfinished at once.',
  registers: [metricsRegistry],
});

/** What a bridge can be waiting for instead of reading on. */
export type BridgePause =
  /** As many workflows are unfinished as may be. */
  | 'no-slot'
  /** Temporal does not take starts. */
  | 'temporal-away';

/** Whether the bridge holds its partitions back now, 1 or 0, by what it waits for. */
export const bridgePaused = new Gauge<'reason'>({
  name: 'commerce_bridge_paused',
  help: 'Whether this bridge reads no further now (1) or does (0), by what it waits for.',
  labelNames: ['reason'] satisfies 'reason'[],
  registers: [metricsRegistry],
});

/** Messages of a partition that the group has not committed. Every bridge tells the same of all. */
export const consumerLag = new Gauge<'topic' | 'partition'>({
  name: 'commerce_consumer_lag',
  help: 'Messages in a partition that the consumer group of the bridge has not committed.',
  labelNames: ['topic', 'partition'] satisfies ('topic' | 'partition')[],
  registers: [metricsRegistry],
});

const registers = [metricsRegistry];
const partitionLabels = ['topic', 'partition'] as const;

/** How long the first message of a partition that is not committed has waited. */
export const oldestUncommittedAge = new Gauge({
  name: 'commerce_consumer_oldest_uncommitted_age_seconds',
  help: 'Age of the oldest message in a partition that the group has not committed; 0 when there is none.',
  labelNames: partitionLabels,
  registers,
});

/** For how long a partition has stood still; see `bridge/standstill.ts` for when it counts as that. */
export const consumerStalled = new Gauge({
  name: 'commerce_consumer_stalled_seconds',
  help: 'For how long nothing has been committed in a partition although messages wait; 0 while it moves or waits its turn.',
  labelNames: partitionLabels,
  registers,
});

/** Whether somebody's open transaction keeps the group from going on in a partition, 1 or 0. */
export const partitionHeldBack = new Gauge({
  name: 'commerce_consumer_held_back',
  help: 'Whether an open transaction of a producer keeps the group from reading on in a partition (1).',
  labelNames: partitionLabels,
  registers,
});

/** When this bridge's consumer last came back from a fetch. */
export const consumerLastFetch = new Gauge({
  name: 'commerce_consumer_last_fetch_timestamp_seconds',
  help: "When this bridge's consumer last came back from a fetch, in seconds since 1970; 0 before the first.",
  registers,
});

/** When this bridge last committed. */
export const consumerLastCommit = new Gauge({
  name: 'commerce_consumer_last_commit_timestamp_seconds',
  help: 'When this bridge last committed offsets, in seconds since 1970; 0 before the first.',
  registers,
});

/** Consumers that stopped or hung. */
export const consumersReplaced = new Counter({
  name: 'commerce_consumers_replaced_total',
  help: 'Consumers of this bridge that stopped by themselves or hung, each replaced by another.',
  registers,
});

/** Offsets that nobody has read, and nobody ever will. */
export const vanishedOffsets = new Counter({
  name: 'commerce_vanished_offsets_total',
  help: 'Offsets that vanished before they were read, at least, by topic and reason.',
  labelNames: ['topic', 'reason'] as const,
  registers,
});

/** Whether a topic that the process works with can be used in all its partitions; no figure while the brokers do not answer. */
export const topicAvailable = new Gauge({
  name: 'commerce_topic_available',
  help: 'Whether a topic exists, may be used and has a leader for each partition (1) or not (0).',
  labelNames: ['topic'] as const,
  registers,
});

// From a read of the cache to a command that waits for its decision.
const requestBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
// From the usual way of an event to one that has waited for a server to come back.
const travelBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800];
const workBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** How long requests took, from their headers to the end of their answer. */
export const httpRequestDuration = new Histogram({
  name: 'commerce_http_request_duration_seconds',
  help: 'Requests by method, route (never the path) and status.',
  labelNames: ['method', 'route', 'status'] as const,
  buckets: requestBuckets,
  registers,
});

/** What came of claiming the Idempotency-Key of a request. */
export const idempotencyKeys = new Counter({
  name: 'commerce_idempotency_keys_total',
  help: 'Requests with an Idempotency-Key: claimed, replayed, under_way (409) or other_request (422).',
  labelNames: ['outcome'] as const,
  registers,
});

/** Which way views went. */
export const views = new Counter({
  name: 'commerce_views_total',
  help: 'Views of products: sent directly, handed over to a workflow, or dropped.',
  labelNames: ['way'] as const,
  registers,
});

/** What readers found in the cache. */
export const cacheLookups = new Counter({
  name: 'commerce_cache_lookups_total',
  help: 'Look-ups of product details in the cache: hit, miss, or failed.',
  labelNames: ['result'] as const,
  registers,
});

/** What came of filling the cache. */
export const cacheFills = new Counter({
  name: 'commerce_cache_fills_total',
  help: 'Fills of the cache: stored, or refused since the lease was voided by an eviction meanwhile.',
  labelNames: ['result'] as const,
  registers,
});

/** Products whose cached detail was evicted. */
export const cacheEvictions = new Counter({
  name: 'commerce_cache_evictions_total',
  help: 'Product details evicted from the cache because an event changed what they show.',
  registers,
});

/** What a pool tells of its use. */
export interface PoolUse {
  readonly totalCount: number;
  readonly idleCount: number;
  readonly waitingCount: number;
  readonly ended: boolean;
}

const pools = new Set<{ readonly name: string; readonly use: PoolUse }>();

/** Has the use of a pool read at each scrape, until the pool is ended. */
export function watchPool(name: string, use: PoolUse): void {
  pools.add({ name, use });
}

function readPools(read: (name: string, use: PoolUse) => void): void {
  for (const watched of pools) {
    if (watched.use.ended) pools.delete(watched);
    else read(watched.name, watched.use);
  }
}

/** Connections of the pools to PostgreSQL. */
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

/** Who waits for a connection of a pool. */
new Gauge({
  name: 'commerce_postgres_pool_waiting',
  help: 'Statements and transactions that wait for a connection of a pool.',
  labelNames: ['pool'] as const,
  registers,
  collect() {
    this.reset();
    readPools((pool, { waitingCount }) => this.inc({ pool }, waitingCount));
  },
});

/** Requests to the brokers. */
export const kafkaSends = new Counter({
  name: 'commerce_kafka_sends_total',
  help: 'Requests to Kafka that carried messages: acknowledged, failed, or refused as too_large.',
  labelNames: ['outcome'] as const,
  registers,
});

/** How many messages went together. */
export const kafkaSendMessages = new Histogram({
  name: 'commerce_kafka_send_messages',
  help: 'Messages in one acknowledged request to Kafka.',
  buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000],
  registers,
});

/** How long the brokers took to acknowledge. */
export const kafkaSendDuration = new Histogram({
  name: 'commerce_kafka_send_duration_seconds',
  help: 'From handing a request to Kafka to its acknowledgement by all replicas in sync.',
  buckets: workBuckets,
  registers,
});

/** Events that the brokers have acknowledged. */
export const eventsPublished = new Counter({
  name: 'commerce_events_published_total',
  help: 'Events acknowledged by Kafka for the first time, by type.',
  labelNames: ['type'] as const,
  registers,
});

/** How long events waited in the outbox. */
export const publicationDelay = new Histogram({
  name: 'commerce_event_publication_delay_seconds',
  help: 'From writing an event to the outbox to marking it as published.',
  buckets: travelBuckets,
  registers,
});

/** Events that are written and not published. */
export const outboxUnpublished = new Gauge({
  name: 'commerce_outbox_unpublished_events',
  help: 'Events in the outbox that are not published. Every worker:commerce reports the same number.',
  registers,
});

/** How long the oldest of them has waited. */
export const outboxOldestAge = new Gauge({
  name: 'commerce_outbox_oldest_unpublished_age_seconds',
  help: 'Age of the oldest event in the outbox that is not published; 0 when there is none.',
  registers,
});

/** Orders by what came of them. */
export const ordersDecided = new Counter({
  name: 'commerce_orders_decided_total',
  help: 'Orders decided: confirmed, cancelled (by cause), or refused as out_of_stock or unknown_product.',
  labelNames: ['outcome'] as const,
  registers,
});

/** What the payment gateway answered. */
export const payments = new Counter({
  name: 'commerce_payments_total',
  help: 'Tries to charge or give back: captured, declined, refunded, unavailable (tried again), impossible.',
  labelNames: ['outcome'] as const,
  registers,
});

/** How long activities took. */
export const activityDuration = new Histogram({
  name: 'commerce_activity_duration_seconds',
  help: 'Tries of activities, local ones too, by name and outcome (completed, failed, cancelled).',
  labelNames: ['activity', 'outcome'] as const,
  buckets: workBuckets,
  registers,
});

/** Events whose effects were applied. */
export const eventsHandled = new Counter({
  name: 'commerce_events_handled_total',
  help: 'Events whose effects were applied, each once, by type.',
  labelNames: ['type'] as const,
  registers,
});

/** The way of an event from end to end. */
export const eventLatency = new Histogram({
  name: 'commerce_event_latency_seconds',
  help: "From an event's own time to the moment when its effects were applied, by type.",
  labelNames: ['type'] as const,
  buckets: travelBuckets,
  registers,
});

/** Events that came again and changed nothing. */
export const duplicatesRefused = new Counter({
  name: 'commerce_event_duplicates_refused_total',
  help: 'Repeats of events refused, by guard: workflow_id (Temporal) or event_handled (PostgreSQL).',
  labelNames: ['guard'] as const,
  registers,
});

/** Messages that were parked. */
export const deadLettersParked = new Counter({
  name: 'commerce_dead_letters_parked_total',
  help: 'Messages parked as dead letters, each once, by reason.',
  labelNames: ['reason'] as const,
  registers,
});

/** Dead letters that a person has to decide on. */
export const deadLettersWaiting = new Gauge({
  name: 'commerce_dead_letters_waiting',
  help: 'Dead letters neither redriven nor discarded. Every worker:collector reports the same number.',
  registers,
});

const metricsSourceFailures = new Counter({
  name: 'commerce_metrics_source_failures_total',
  help: "Scrapes that lack the metrics of a part that counts by itself, such as Temporal's runtime.",
  registers,
});

// Label values that are known beforehand: present from the start, like those of the findings.
for (const outcome of ['claimed', 'replayed', 'under_way', 'other_request'])
  idempotencyKeys.inc({ outcome }, 0);
for (const way of ['direct', 'workflow', 'dropped']) views.inc({ way }, 0);
for (const result of ['hit', 'miss', 'failed']) cacheLookups.inc({ result }, 0);
for (const result of ['stored', 'refused']) cacheFills.inc({ result }, 0);
for (const outcome of ['acknowledged', 'failed', 'too_large']) kafkaSends.inc({ outcome }, 0);
for (const guard of ['workflow_id', 'event_handled']) duplicatesRefused.inc({ guard }, 0);

const workers: readonly ProcessKind[] = ['worker:commerce', 'worker:collector'];
const senders: readonly ProcessKind[] = ['api', ...workers];

/** Which kinds of process count a metric; one that is not named here is counted by all of them. */
export const countedBy: Readonly<Record<string, readonly ProcessKind[]>> = {
  commerce_http_request_duration_seconds: ['api'],
  commerce_idempotency_keys_total: ['api'],
  commerce_views_total: ['api'],
  commerce_cache_lookups_total: ['api'],
  commerce_cache_fills_total: ['api'],
  commerce_cache_evictions_total: ['worker:collector'],
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
  commerce_dead_letters_parked_total: ['worker:collector'],
  commerce_dead_letters_waiting: ['worker:collector'],
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
