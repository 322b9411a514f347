-- What has moved and what has vanished on the way through Kafka, as the delivery audit saw it.

CREATE TABLE collector.partition_progress (
  topic     text        NOT NULL,
  partition integer     NOT NULL,
  committed bigint,
  log_start bigint      NOT NULL,
  log_end   bigint      NOT NULL,
  seen_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (topic, partition)
);

COMMENT ON TABLE collector.partition_progress IS
  'Where the group and each log stood when the audit looked last; committed is null where the group has committed nothing.';

CREATE TABLE collector.vanished_offsets (
  id           bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  topic        text        NOT NULL,
  partition    integer     NOT NULL,
  first_offset bigint      NOT NULL,
  last_offset  bigint      CHECK (last_offset >= first_offset),
  reason       text        NOT NULL,
  noticed_at   timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE collector.vanished_offsets IS
  'Offsets that were gone before anybody had read them.';
COMMENT ON COLUMN collector.vanished_offsets.last_offset IS
  'Null when nobody can tell how many there were: the log was made anew.';

CREATE INDEX vanished_offsets_place ON collector.vanished_offsets (topic, partition, noticed_at);

GRANT SELECT, INSERT, UPDATE ON collector.partition_progress TO commerce_collector;
-- Ranges of one incident are replaced by their union.
GRANT SELECT, INSERT, DELETE ON collector.vanished_offsets TO commerce_collector;

-- A dead letter may claim any ID. It is an event only if it carries that event.
CREATE FUNCTION collector.json_of(value bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
  RETURN convert_from(value, 'UTF8')::jsonb;
EXCEPTION
  WHEN data_exception THEN RETURN NULL;
END
$$;

COMMENT ON FUNCTION collector.json_of IS 'What a message says, or null where it is no JSON.';

-- An event that is left behind is told of once, however often the audit looks.
ALTER TABLE commerce.outbox ADD COLUMN left_behind_at timestamptz;

COMMENT ON COLUMN commerce.outbox.left_behind_at IS
  'When the delivery audit first found that nobody had published the event.';

GRANT UPDATE (left_behind_at) ON commerce.outbox TO commerce_shop;
