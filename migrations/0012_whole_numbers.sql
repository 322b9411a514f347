-- JSON has one kind of number, and a whole one can be written with a fraction: 2.0, or
-- 1.00000000000000000001, which JavaScript reads as 1. jsonb keeps each digit. So what an event's number
-- is, JavaScript has decided when it let the event in, and the metrics must not see another one.

CREATE OR REPLACE FUNCTION collector.whole_number(number text) RETURNS bigint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  -- Through the double that JavaScript reads, which rounds a half to the even neighbour where numeric
  -- rounds it away from 0. Only next to 0 is there something that no double can hold.
  RETURN CASE WHEN abs(number::numeric) < 0.5 THEN 0 ELSE number::float8::bigint END;

COMMENT ON FUNCTION collector.whole_number IS
  'The whole number up to 2^53 that JavaScript reads where a JSON number is spelled like this.';

CREATE OR REPLACE VIEW collector.event_effects AS
SELECT event.event_id, event.occurred_at, (event.occurred_at AT TIME ZONE 'UTC')::date AS day, effect.*
FROM collector.event_log AS event
CROSS JOIN LATERAL (
  SELECT
    data ->> 'productId' AS product_id,
    CASE WHEN event.type IN ('LikeChanged', 'ProductViewed') THEN data ->> 'userId' END AS user_id,
    CASE event.type WHEN 'ProductViewed' THEN 1 ELSE 0 END AS views,
    CASE event.type WHEN 'LikeChanged' THEN CASE WHEN (data -> 'liked')::boolean THEN 1 ELSE -1 END ELSE 0 END AS likes,
    0::numeric AS sales,
    CASE WHEN event.type IN ('ProductRegistered', 'StockAdjusted') THEN collector.whole_number(data ->> 'stock') END AS stock,
    CASE WHEN event.type IN ('ProductRegistered', 'StockAdjusted') THEN collector.whole_number(data ->> 'version') END AS stock_version,
    CASE event.type WHEN 'LikeChanged' THEN collector.whole_number(data ->> 'likeCount') END AS like_count,
    CASE event.type WHEN 'LikeChanged' THEN collector.whole_number(data ->> 'version') END AS like_version,
    CASE event.type WHEN 'LikeChanged' THEN (data -> 'liked')::boolean END AS liked
  FROM (SELECT event.payload -> 'data' AS data) AS payload
  WHERE event.type IN ('ProductRegistered', 'StockAdjusted', 'LikeChanged', 'ProductViewed')
  UNION ALL
  SELECT
    item ->> 'productId',
    event.payload -> 'data' ->> 'userId',
    0,
    0,
    sum(collector.whole_number(item ->> 'quantity')) * CASE event.type WHEN 'OrderConfirmed' THEN 1 ELSE -1 END,
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

-- What has been added up with fractions is rounded: they came of numbers that are next to a whole one.
-- The view is locked from here to the commit, so nobody adds one meanwhile. Should a sum be off by more
-- than rounding mends, `ops verify` finds it and `ops rebuild-metrics` puts it right.
UPDATE collector.product_metrics SET sales_count = round(sales_count) WHERE scale(sales_count) > 0;
UPDATE collector.product_metrics_daily SET sales_count = round(sales_count) WHERE scale(sales_count) > 0;
UPDATE collector.product_user_metrics SET purchase_count = round(purchase_count) WHERE scale(purchase_count) > 0;
