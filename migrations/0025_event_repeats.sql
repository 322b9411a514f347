-- Events that came again and changed nothing: how often, and when and where last. An event that came once has no
-- row. See docs/decisions/0032-repeats.md.

CREATE TABLE collector.event_repeats (
  event_id  text        PRIMARY KEY,
  count     bigint      NOT NULL CHECK (count > 0),
  first_at  timestamptz NOT NULL DEFAULT now(),
  last_at   timestamptz NOT NULL DEFAULT now(),
  topic     text        NOT NULL,
  partition integer     NOT NULL,
  "offset"  bigint      NOT NULL
);

COMMENT ON TABLE collector.event_repeats IS
  'Later deliveries of events that changed nothing. A record for people: nothing else reads it, and rows may be deleted at any time.';
COMMENT ON COLUMN collector.event_repeats.count IS
  'A delivery that was interrupted and made again may count twice.';
COMMENT ON COLUMN collector.event_repeats.last_at IS
  'When the last one was found to be a repeat.';
COMMENT ON COLUMN collector.event_repeats."offset" IS
  'Where the last one stood, with topic and partition: where the event was logged from, or elsewhere.';

-- Rows in the order of the key, so that two of these statements wait for each other instead of deadlocking.
CREATE FUNCTION collector.count_repeats(event_ids text[], topics text[], partitions integer[], offsets bigint[])
RETURNS void LANGUAGE sql VOLATILE AS $$
  INSERT INTO collector.event_repeats AS known (event_id, count, topic, partition, "offset")
  SELECT again.event_id, count(*), (array_agg(again.topic ORDER BY position DESC))[1],
    (array_agg(again.partition ORDER BY position DESC))[1], (array_agg(again."offset" ORDER BY position DESC))[1]
  FROM unnest(event_ids, topics, partitions, offsets) WITH ORDINALITY
    AS again (event_id, topic, partition, "offset", position)
  GROUP BY again.event_id ORDER BY again.event_id
  ON CONFLICT (event_id) DO UPDATE SET count = known.count + excluded.count, last_at = excluded.last_at,
    topic = excluded.topic, partition = excluded.partition, "offset" = excluded."offset"
$$;

COMMENT ON FUNCTION collector.count_repeats IS
  'Counts deliveries that changed nothing, one for each element of the arrays.';

GRANT SELECT, INSERT, UPDATE ON collector.event_repeats TO commerce_collector, commerce_bridge;
