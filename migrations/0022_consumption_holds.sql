-- Consumption that an operator holds or bounds. The bridges read it every second, so it holds for each of them
-- and outlives their restarts.

CREATE TABLE collector.consumption_holds (
  id                  bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  topic               text,
  partition           integer     CHECK (partition >= 0),
  messages_per_second integer     CHECK (messages_per_second > 0),
  held_by             text        NOT NULL,
  reason              text        NOT NULL,
  held_at             timestamptz NOT NULL DEFAULT now(),
  released_by         text,
  release_reason      text,
  released_at         timestamptz,
  CHECK (partition IS NULL OR topic IS NOT NULL),
  CHECK (messages_per_second IS NULL OR topic IS NULL),
  CHECK ((released_at IS NULL) = (released_by IS NULL) AND (released_at IS NULL) = (release_reason IS NULL))
);

COMMENT ON TABLE collector.consumption_holds IS
  'What operators hold, or have held: everything (no topic), a topic (no partition) or a partition. Rows are kept, as a record of who did what, when and why.';
COMMENT ON COLUMN collector.consumption_holds.messages_per_second IS
  'A bound on the rate of all bridges together, instead of a hold; null for a hold.';
COMMENT ON COLUMN collector.consumption_holds.released_at IS
  'Null while it holds.';

-- One hold of each scope, and one bound, at a time.
CREATE UNIQUE INDEX consumption_holds_current
  ON collector.consumption_holds (topic, partition, (messages_per_second IS NULL)) NULLS NOT DISTINCT
  WHERE released_at IS NULL;

-- The API writes this by itself, unlike other changes of state: consumption can be held while Temporal is away.
-- What was held stays on record.
GRANT INSERT (topic, partition, messages_per_second, held_by, reason),
  UPDATE (released_by, release_reason, released_at)
  ON collector.consumption_holds TO commerce_api, commerce_operator;
-- One process may be worker and bridge.
GRANT SELECT ON collector.consumption_holds TO commerce_bridge, commerce_collector;
