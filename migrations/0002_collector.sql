-- The collector's side: what happened, what was handled, what it adds up to, and what was parked.

CREATE SCHEMA collector;

CREATE TABLE collector.event_log (
  event_id     text        PRIMARY KEY,
  type         text        NOT NULL,
  topic        text        NOT NULL,
  partition    integer     NOT NULL,
  "offset"     bigint      NOT NULL,
  aggregate_id text        NOT NULL,
  occurred_at  timestamptz NOT NULL,
  recorded_at  timestamptz NOT NULL DEFAULT now(),
  payload      jsonb       NOT NULL
);

COMMENT ON TABLE collector.event_log IS
  'The audit log: every accepted event, once, with its envelope. Append-only; every metric can be rebuilt from it.';

CREATE INDEX event_log_recorded_at ON collector.event_log USING brin (recorded_at);
CREATE INDEX event_log_aggregate ON collector.event_log (aggregate_id, recorded_at);

CREATE TABLE collector.event_handled (
  event_id    text        PRIMARY KEY,
  workflow_id text        NOT NULL,
  handled_at  timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE collector.event_handled IS
  'Events whose effects on the metrics are applied, written in the same statement as these: the guard against a second time.';

-- Rows are updated in place all the time: room on each page keeps the updates off the indexes.
CREATE TABLE collector.product_metrics (
  product_id    text        PRIMARY KEY,
  view_count    bigint      NOT NULL DEFAULT 0,
  like_count    bigint      NOT NULL DEFAULT 0,
  like_version  bigint      NOT NULL DEFAULT 0,
  sales_count   numeric     NOT NULL DEFAULT 0,
  stock         bigint,
  stock_version bigint      NOT NULL DEFAULT 0,
  updated_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);

COMMENT ON COLUMN collector.product_metrics.stock IS 'Null until an event has told of it.';

CREATE TABLE collector.product_metrics_daily (
  product_id  text    NOT NULL,
  day         date    NOT NULL,
  view_count  bigint  NOT NULL DEFAULT 0,
  like_delta  bigint  NOT NULL DEFAULT 0,
  sales_count numeric NOT NULL DEFAULT 0,
  PRIMARY KEY (product_id, day)
) WITH (fillfactor = 70);

COMMENT ON COLUMN collector.product_metrics_daily.day IS 'The UTC date of the event''s time.';

CREATE TABLE collector.product_user_metrics (
  product_id     text        NOT NULL,
  user_id        text        NOT NULL,
  view_count     bigint      NOT NULL DEFAULT 0,
  liked          boolean     NOT NULL DEFAULT false,
  liked_version  bigint      NOT NULL DEFAULT 0,
  purchase_count numeric     NOT NULL DEFAULT 0,
  last_event_at  timestamptz NOT NULL,
  PRIMARY KEY (product_id, user_id)
) WITH (fillfactor = 70);

COMMENT ON COLUMN collector.product_user_metrics.purchase_count IS
  'Units bought, less those of confirmed orders that were cancelled.';

CREATE TABLE collector.dead_letters (
  id            bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  topic         text        NOT NULL,
  partition     integer     NOT NULL,
  "offset"      bigint      NOT NULL,
  key           bytea,
  value         bytea,
  value_hash    bytea       NOT NULL,
  headers       jsonb       NOT NULL,
  produced_at   timestamptz NOT NULL,
  event_id      text,
  reason        text        NOT NULL,
  detail        text        NOT NULL,
  tries         integer     NOT NULL DEFAULT 1,
  status        text        NOT NULL DEFAULT 'parked' CHECK (status IN ('parked', 'redriven', 'discarded')),
  workflow_id   text        NOT NULL,
  parked_at     timestamptz NOT NULL DEFAULT now(),
  UNIQUE (topic, partition, "offset", value_hash)
);

COMMENT ON TABLE collector.dead_letters IS
  'Messages that cannot be events, or whose effects can never be applied, byte for byte. Once each: coordinates and value are unique.';
COMMENT ON COLUMN collector.dead_letters.headers IS
  'A list of {name, text} or, where the bytes are no text, {name, base64}.';

CREATE INDEX dead_letters_status ON collector.dead_letters (status, id);
CREATE INDEX dead_letters_event_id ON collector.dead_letters (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX dead_letters_workflow_id ON collector.dead_letters (workflow_id);

-- The one place that says what an event does to the metrics: a row for each product that it touches.
-- Live updates, rebuilding and verifying all read it.
CREATE VIEW collector.event_effects AS
SELECT event.event_id, event.occurred_at, (event.occurred_at AT TIME ZONE 'UTC')::date AS day, effect.*
FROM collector.event_log AS event
CROSS JOIN LATERAL (
  SELECT
    data ->> 'productId' AS product_id,
    CASE WHEN event.type IN ('LikeChanged', 'ProductViewed') THEN data ->> 'userId' END AS user_id,
    CASE event.type WHEN 'ProductViewed' THEN 1 ELSE 0 END AS views,
    CASE event.type WHEN 'LikeChanged' THEN CASE WHEN (data -> 'liked')::boolean THEN 1 ELSE -1 END ELSE 0 END AS likes,
    0::numeric AS sales,
    CASE WHEN event.type IN ('ProductRegistered', 'StockAdjusted') THEN (data ->> 'stock')::numeric::bigint END AS stock,
    CASE WHEN event.type IN ('ProductRegistered', 'StockAdjusted') THEN (data ->> 'version')::numeric::bigint END AS stock_version,
    CASE event.type WHEN 'LikeChanged' THEN (data ->> 'likeCount')::numeric::bigint END AS like_count,
    CASE event.type WHEN 'LikeChanged' THEN (data ->> 'version')::numeric::bigint END AS like_version,
    CASE event.type WHEN 'LikeChanged' THEN (data -> 'liked')::boolean END AS liked
  FROM (SELECT event.payload -> 'data' AS data) AS payload
  WHERE event.type IN ('ProductRegistered', 'StockAdjusted', 'LikeChanged', 'ProductViewed')
  UNION ALL
  SELECT
    item ->> 'productId',
    event.payload -> 'data' ->> 'userId',
    0,
    0,
    sum((item ->> 'quantity')::numeric) * CASE event.type WHEN 'OrderConfirmed' THEN 1 ELSE -1 END,
    NULL, NULL, NULL, NULL, NULL
  FROM jsonb_array_elements(
    -- Asked for only where it is a list by contract: another event may have a field of that name.
    CASE
      WHEN event.type = 'OrderConfirmed' THEN event.payload -> 'data' -> 'items'
      WHEN event.type = 'OrderCancelled' AND (event.payload -> 'data' -> 'wasConfirmed')::boolean
        THEN event.payload -> 'data' -> 'items'
    END) AS item
  GROUP BY 1
) AS effect;

COMMENT ON VIEW collector.event_effects IS
  'What each logged event does to each product: deltas (views, likes, sales) and snapshots with their version.';
