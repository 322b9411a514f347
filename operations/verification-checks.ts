/**
 * Invariants between the tables, each as one statement that finds its violations. Independent of the
 * code that it checks: of projections it shares only the declaration of what an event does.
 */
import type { GroupProgress } from '../platform/kafka/consumer-lag';
import { projections } from '../projections';
import type { Projection } from '../projections/projection';
import { differences, totals } from '../projections/statements';

/** Input of a check besides the snapshot. */
export interface CheckInput {
  /** For how long an event may be in flight, in seconds. */
  readonly graceSeconds: number;
  /** Position of the consumer group before the snapshot. */
  readonly progress: GroupProgress;
  /** When it was read, in ms since the epoch. */
  readonly now: number;
}

/** An invariant. */
export interface Check {
  readonly name: string;
  /** The invariant, for people. */
  readonly rule: string;
  /** Query of one row: how much was compared. */
  readonly figures: string;
  /** Its parameters; none by default. */
  readonly figureValues?: (input: CheckInput) => unknown[];
  /** Query that returns a row for each violation. */
  readonly differences: string;
  /** The parameters of `differences`. */
  values(input: CheckInput): unknown[];
}

const none = (): unknown[] => [];
const grace = ({ graceSeconds }: CheckInput): unknown[] => [graceSeconds];

/**
 * Whether an event is parked, or was redriven recently. A dead letter may claim any ID: its content
 * must match.
 */
const isParked = (event: 'outbox' | 'event_log', graceParameter: string): string => `
  EXISTS (
    SELECT FROM collector.dead_letters AS letter
    WHERE letter.event_id = ${event}.event_id
      AND (letter.status <> 'redriven'
        OR letter.resolved_at > now() - make_interval(secs => ${graceParameter}))
      AND collector.json_of(letter.value) = ${event}.payload)`;

/** Every invariant, in the order of the pipeline. */
export const checks: readonly Check[] = [
  {
    name: 'stock-adjustments',
    rule: "A product's stock is what it began with plus its adjustments, never below 0, with no gap in its versions but for what a restore has lost, which the outbox has.",
    figures: `
      SELECT (SELECT count(*) FROM commerce.products) AS products,
        (SELECT count(*) FROM commerce.stock_adjustments) AS adjustments`,
    differences: `
      WITH step AS (
        SELECT *,
          lag(stock) OVER (PARTITION BY product_id ORDER BY version) AS stock_before,
          lag(version, 1, 1::bigint) OVER (PARTITION BY product_id ORDER BY version) + 1 AS version_due
        FROM commerce.stock_adjustments
      ), total AS (
        SELECT product_id, sum(delta) AS adjusted, count(*) AS adjustments,
          max(version) AS last_version, (array_agg(previous_stock ORDER BY version))[1] AS first_stock
        FROM commerce.stock_adjustments GROUP BY product_id
      ), registered AS (
        SELECT key AS product_id, (payload -> 'data' ->> 'stock')::numeric AS stock
        FROM commerce.outbox WHERE type = 'ProductRegistered'
      )
      SELECT product_id, version, 'an adjustment does not follow from the one before' AS problem,
        to_jsonb(step) AS found
      FROM step
      WHERE stock <> previous_stock + delta OR stock < 0
        OR stock_before IS NOT NULL AND stock_before <> previous_stock
      UNION ALL
      SELECT product_id, version, 'the version before it is missing', to_jsonb(step)
      FROM step
      WHERE version <> version_due AND NOT EXISTS (
        SELECT FROM commerce.outbox
        WHERE type = 'StockAdjusted' AND key = step.product_id
          AND (payload #>> '{data,version}')::numeric = step.version - 1)
      UNION ALL
      SELECT product_id, stock_version, 'the stock is not the sum of its adjustments',
        jsonb_build_object('stock', products.stock, 'registered', registered.stock,
          'adjusted', adjusted, 'adjustments', adjustments, 'lastVersion', last_version)
      FROM commerce.products
      LEFT JOIN total USING (product_id)
      LEFT JOIN registered USING (product_id)
      WHERE products.stock < 0
        OR products.stock
          <> coalesce(registered.stock, first_stock, products.stock) + coalesce(adjusted, 0)
        OR stock_version <> coalesce(last_version, 1)`,
    values: none,
  },
  {
    name: 'order-stock',
    rule: 'An order holds exactly the stock of its items; a cancelled one holds none.',
    figures: `
      SELECT count(*) AS orders, count(*) FILTER (WHERE status = 'CANCELLED') AS cancelled
      FROM commerce.orders`,
    differences: `
      WITH wanted AS (
        SELECT order_id, product_id, CASE status WHEN 'CANCELLED' THEN 0 ELSE quantity END AS quantity
        FROM commerce.orders JOIN commerce.order_items USING (order_id)
      ), held AS (
        SELECT order_id, product_id, -sum(delta) AS quantity
        FROM commerce.stock_adjustments WHERE order_id IS NOT NULL GROUP BY order_id, product_id
      )
      SELECT order_id, product_id, wanted.quantity AS expected, held.quantity AS found
      FROM wanted FULL JOIN held USING (order_id, product_id)
      WHERE wanted.quantity IS DISTINCT FROM held.quantity`,
    values: none,
  },
  {
    name: 'money',
    rule: 'Money is captured for confirmed orders only, each for its total.',
    figures: `
      SELECT
        (SELECT count(*) FROM commerce.orders WHERE status = 'CONFIRMED') AS "confirmedOrders",
        (SELECT coalesce(sum(total_amount), 0) FROM commerce.orders WHERE status = 'CONFIRMED')
          AS "confirmedAmount",
        (SELECT coalesce(sum(amount), 0) FROM commerce.payments WHERE status = 'captured')
          AS "capturedAmount"`,
    differences: `
      WITH item AS (
        SELECT order_id, sum(quantity * unit_price) AS amount FROM commerce.order_items GROUP BY order_id
      )
      SELECT order_id, orders.status AS "orderStatus", total_amount AS "totalAmount",
        item.amount AS "amountOfItems", payments.status AS "paymentStatus", payments.amount AS paid
      FROM commerce.orders
      FULL JOIN commerce.payments USING (order_id)
      LEFT JOIN item USING (order_id)
      WHERE orders.status IS NULL
        OR total_amount IS DISTINCT FROM item.amount
        OR (orders.status = 'CONFIRMED') <> (coalesce(payments.status, '') = 'captured')
        OR payments.status = 'captured' AND payments.amount <> total_amount`,
    values: none,
  },
  {
    name: 'likes',
    rule: "A product's like count is the number of users who like it.",
    figures: `
      SELECT (SELECT count(*) FROM commerce.products) AS products,
        (SELECT count(*) FROM commerce.product_likes) AS likes`,
    differences: `
      SELECT product_id, like_count AS found, coalesce(likes, 0) AS expected
      FROM commerce.products
      LEFT JOIN (SELECT product_id, count(*) AS likes FROM commerce.product_likes GROUP BY 1) AS liked
        USING (product_id)
      WHERE like_count <> coalesce(likes, 0)`,
    values: none,
  },
  {
    name: 'changes-have-events',
    rule: 'Every change of the shop has an event in the outbox that tells it; each change of stock has its own.',
    figures: `
      SELECT (SELECT count(*) FROM commerce.outbox) AS events,
        (SELECT count(*) FROM commerce.stock_adjustments) AS adjustments,
        (SELECT count(*) FROM commerce.orders) AS orders`,
    differences: `
      WITH due AS (
        SELECT product_id AS aggregate_id, 'ProductRegistered' AS type FROM commerce.products
        UNION ALL SELECT order_id, 'OrderPlaced' FROM commerce.orders
        UNION ALL SELECT order_id, unnest(ARRAY['PaymentCompleted', 'OrderConfirmed'])
          FROM commerce.orders WHERE status = 'CONFIRMED'
        UNION ALL SELECT order_id, 'OrderCancelled' FROM commerce.orders WHERE status = 'CANCELLED'
      ),
      -- Materialized: a join would keep every payload.
      told AS MATERIALIZED (
        SELECT event_id, key, payload #>> '{data,version}' AS version
        FROM commerce.outbox WHERE type = 'StockAdjusted'
      )
      SELECT aggregate_id, type, NULL AS event_id FROM due
      WHERE NOT EXISTS (
        SELECT FROM commerce.outbox WHERE outbox.key = due.aggregate_id AND outbox.type = due.type)
      UNION ALL
      SELECT product_id, 'StockAdjusted', event_id FROM commerce.stock_adjustments AS adjustment
      WHERE NOT EXISTS (
        SELECT FROM told
        WHERE told.event_id = adjustment.event_id AND told.key = adjustment.product_id
          AND told.version = adjustment.version::text)
      UNION ALL
      SELECT product_id, 'LikeChanged', NULL FROM commerce.products
      LEFT JOIN (
        SELECT key AS product_id, count(*) AS changes FROM commerce.outbox
        WHERE type = 'LikeChanged' GROUP BY key
      ) AS liked USING (product_id)
      WHERE like_version <> coalesce(changes, 0)`,
    values: none,
  },
  {
    name: 'delivery',
    rule: 'Every event of the outbox is published in time, and logged or parked in time, whatever the consumer lag.',
    figures: `
      SELECT count(*) AS events, count(*) FILTER (WHERE published_at IS NULL) AS unpublished,
        count(*) FILTER (WHERE EXISTS (
          SELECT FROM collector.event_log WHERE event_log.event_id = outbox.event_id)) AS logged
      FROM commerce.outbox`,
    differences: `
      SELECT event_id, type, key AS aggregate_id, published_at, partition, "offset",
        CASE WHEN published_at IS NULL THEN 'not published' ELSE 'neither logged nor parked' END
          AS problem
      FROM commerce.outbox
      WHERE coalesce(published_at, created_at) <= now() - make_interval(secs => $1)
        AND NOT EXISTS (
          SELECT FROM collector.event_log WHERE event_log.event_id = outbox.event_id)
        AND NOT ${isParked('outbox', '$1')}`,
    values: grace,
  },
  {
    name: 'consumer-progress',
    rule: 'The consumer group can read every topic, and no message stays uncommitted for longer than it may be in flight.',
    figures: `
      SELECT count(*) AS partitions, count(*) FILTER (WHERE lag > 0) AS behind,
        coalesce(sum(lag), 0) AS lag
      FROM unnest($1::bigint[]) AS group_progress (lag)`,
    figureValues: ({ progress }) => [progress.partitions.map(({ lag }) => lag)],
    differences: `
      SELECT topic, partition, committed, "end", lag, round(age) AS "ageSeconds",
        held_back_by AS "heldBackBy", 'the oldest message is not committed' AS problem
      FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::numeric[], $7::text[])
        AS group_progress (topic, partition, committed, "end", lag, age, held_back_by)
      WHERE lag > 0 AND age >= $8
      UNION ALL
      SELECT topic, NULL, NULL, NULL, NULL, NULL, NULL, 'cannot be read: ' || error
      FROM unnest($9::text[], $10::text[]) AS unreadable (topic, error)`,
    values: ({ progress: { partitions, unreadable }, graceSeconds, now }) => [
      partitions.map(({ topic }) => topic),
      partitions.map(({ partition }) => partition),
      partitions.map(({ committed }) => committed),
      partitions.map(({ end }) => end),
      partitions.map(({ lag }) => lag),
      partitions.map(({ oldestUncommittedAt: at }) =>
        // The producer's clock may be ahead of ours.
        at === undefined ? null : Math.max(now - at, 0) / 1_000,
      ),
      partitions.map(({ heldBackBy }) => heldBackBy ?? null),
      graceSeconds,
      unreadable.map(({ topic }) => topic),
      unreadable.map(({ error }) => error.message),
    ],
  },
  {
    name: 'replays',
    rule: 'Messages that are to be read again have been, in time. (The figures show how many that were: most because Temporal had lost their workflows.)',
    figures: `
      SELECT count(*) AS ranges, coalesce(sum(last_offset - first_offset + 1), 0) AS offsets,
        count(*) FILTER (WHERE finished_at IS NULL) AS unfinished
      FROM collector.replays`,
    differences: `
      SELECT id, topic, partition, first_offset, last_offset, next_offset, reason, requested_at
      FROM collector.replays
      WHERE finished_at IS NULL AND requested_at <= now() - make_interval(secs => $1)`,
    values: grace,
  },
  {
    name: 'vanished-offsets',
    rule: 'Events of the outbox that Kafka deleted before they were read have been delivered another way. (Events of other producers are lost; the figures show how many.)',
    figures: `
      SELECT count(*) AS ranges,
        coalesce(sum(coalesce(last_offset, first_offset) - first_offset + 1), 0) AS offsets
      FROM collector.vanished_offsets`,
    differences: `
      SELECT vanished.topic, vanished.partition, first_offset, last_offset, reason, noticed_at,
        event_id, outbox."offset"
      FROM collector.vanished_offsets AS vanished
      JOIN commerce.outbox ON outbox.topic = vanished.topic
        AND outbox.partition = vanished.partition
        AND outbox."offset" >= first_offset
        AND outbox."offset" <= coalesce(last_offset, outbox."offset")
        AND outbox.published_at < noticed_at
      WHERE noticed_at <= now() - make_interval(secs => $1)
        AND NOT EXISTS (
          SELECT FROM collector.event_log WHERE event_log.event_id = outbox.event_id)
        AND NOT ${isParked('outbox', '$1')}`,
    values: grace,
  },
  {
    name: 'log-equals-outbox',
    rule: 'An event is logged word for word as it was written to the outbox.',
    figures: `
      SELECT count(*) AS compared FROM commerce.outbox JOIN collector.event_log USING (event_id)`,
    differences: `
      SELECT event_id, outbox.payload AS expected, event_log.payload AS found
      FROM commerce.outbox JOIN collector.event_log USING (event_id)
      WHERE outbox.payload <> event_log.payload`,
    values: none,
  },
  {
    name: 'handled-is-logged',
    rule: 'Every handled event is in the log.',
    figures: `
      SELECT (SELECT count(*) FROM collector.event_log) AS logged,
        (SELECT count(*) FROM collector.event_handled) AS handled`,
    differences: `
      SELECT event_id, workflow_id, handled_at FROM collector.event_handled
      WHERE NOT EXISTS (
        SELECT FROM collector.event_log WHERE event_log.event_id = event_handled.event_id)`,
    values: none,
  },
  {
    name: 'logged-is-handled',
    rule: 'Every logged event is handled or parked in time.',
    figures: `
      SELECT count(*) AS "notHandled", (SELECT count(*) FROM collector.dead_letters) AS "deadLetters",
        (SELECT count(*) FROM collector.dead_letters WHERE status = 'parked') AS parked
      FROM collector.event_log
      WHERE NOT EXISTS (
        SELECT FROM collector.event_handled WHERE event_handled.event_id = event_log.event_id)`,
    differences: `
      SELECT event_id, type, aggregate_id, recorded_at FROM collector.event_log
      WHERE recorded_at <= now() - make_interval(secs => $1)
        AND NOT EXISTS (
          SELECT FROM collector.event_handled WHERE event_handled.event_id = event_log.event_id)
        AND NOT ${isParked('event_log', '$1')}`,
    values: grace,
  },
  {
    name: 'projections-built',
    rule: 'Every projection was built from all handled events: none waits for rebuild-metrics.',
    figures: `
      SELECT count(*) AS projections, count(*) FILTER (WHERE built_at IS NULL) AS "notBuilt"
      FROM collector.projections`,
    differences: `
      SELECT table_name AS table, migration, 'not built: run rebuild-metrics' AS problem
      FROM collector.projections WHERE built_at IS NULL`,
    values: none,
  },
  ...projections.map(agreementWithEvents),
  {
    name: 'notifications',
    rule: 'Every notification is delivered in time, or its event is parked.',
    figures: `
      SELECT count(*) AS notifications, count(*) FILTER (WHERE status = 'pending') AS pending,
        count(*) FILTER (WHERE status = 'refused') AS refused
      FROM collector.notifications`,
    differences: `
      SELECT event_id, name, status, detail, created_at
      FROM collector.notifications LEFT JOIN collector.event_log USING (event_id)
      WHERE status <> 'delivered' AND created_at <= now() - make_interval(secs => $1)
        AND NOT ${isParked('event_log', '$1')}`,
    values: grace,
  },
  agreementOn('stock', 'stock'),
  agreementOn('like', 'like_count'),
];

/** A projection holds what its handled events come to. */
function agreementWithEvents(projection: Projection): Check {
  return {
    name: projection.table.replaceAll('_', '-'),
    rule: `${projection.about}: as its handled events come to.`,
    figures: totals(projection),
    differences: differences(projection),
    values: none,
  };
}

/**
 * Both sides store a snapshot with its version; there is one snapshot per version. The shop is behind only
 * after it was restored to an earlier moment: told, since its lost changes are nothing that could be mended.
 */
function agreementOn(subject: 'stock' | 'like', snapshot: 'stock' | 'like_count'): Check {
  const version = `${subject}_version`;
  return {
    name: `${subject}-agreement`,
    rule: `Shop and collector agree on the ${subject === 'like' ? 'likes' : subject} of a product wherever both know the same version.`,
    figures: `
      SELECT count(*) AS products,
        count(*) FILTER (WHERE products.${version} = metric.${version}) AS compared,
        count(*) FILTER (WHERE products.${version} > coalesce(metric.${version}, 0)) AS "inFlight",
        count(*) FILTER (WHERE products.${version} < metric.${version}) AS "shopBehind"
      FROM commerce.products LEFT JOIN collector.product_metrics AS metric USING (product_id)`,
    differences: `
      SELECT product_id, ${version} AS version, products.${snapshot} AS shop,
        metric.${snapshot} AS collector
      FROM commerce.products
      JOIN collector.product_metrics AS metric USING (product_id, ${version})
      WHERE products.${snapshot} IS DISTINCT FROM metric.${snapshot}`,
    values: none,
  };
}
