-- Messages below the committed offsets that are neither logged nor parked: the audit looks for them, and the
-- bridge reads them again.

ALTER TABLE collector.partition_progress
  ADD COLUMN anew_at      timestamptz NOT NULL DEFAULT '-infinity',
  ADD COLUMN accounted    bigint,
  ADD COLUMN accounted_at timestamptz,
  ADD COLUMN due          bigint CHECK (due >= accounted),
  ADD COLUMN due_at       timestamptz;

COMMENT ON COLUMN collector.partition_progress.anew_at IS
  'When the log was seen to end before where it had: what was logged before is of another log.';
COMMENT ON COLUMN collector.partition_progress.accounted IS
  'Every message below it, from where the audit began, is logged, parked, or to be replayed.';
COMMENT ON COLUMN collector.partition_progress.accounted_at IS
  'When that offset was the committed one: what is above was logged later, or a little before. Null at the first look at a log.';
COMMENT ON COLUMN collector.partition_progress.due IS
  'The offset up to which messages are accounted for next: the committed one of due_at.';

CREATE TABLE collector.replays (
  id           bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  topic        text        NOT NULL,
  partition    integer     NOT NULL,
  first_offset bigint      NOT NULL,
  last_offset  bigint      NOT NULL CHECK (last_offset >= first_offset),
  next_offset  bigint      NOT NULL,
  reason       text        NOT NULL CHECK (reason IN ('UNACCOUNTED')),
  requested_at timestamptz NOT NULL DEFAULT now(),
  leased_until timestamptz NOT NULL DEFAULT now(),
  finished_at  timestamptz,
  confirmed_at timestamptz
);

COMMENT ON TABLE collector.replays IS
  'Ranges of a partition that the bridge reads again, beside the consumer group, whose offsets do not move.';
COMMENT ON COLUMN collector.replays.next_offset IS
  'Each message below it has had its workflow started again.';
COMMENT ON COLUMN collector.replays.confirmed_at IS
  'When the audit found each of the messages logged or parked; until then it looks again.';
COMMENT ON COLUMN collector.replays.leased_until IS
  'Until then a bridge is at it; afterwards another may take it.';

CREATE INDEX replays_unfinished ON collector.replays (leased_until, id) WHERE finished_at IS NULL;

GRANT SELECT, INSERT ON collector.replays TO commerce_collector;
-- One process may be worker and bridge.
GRANT UPDATE (next_offset, leased_until, finished_at) ON collector.replays
  TO commerce_collector, commerce_bridge;
GRANT UPDATE (confirmed_at) ON collector.replays TO commerce_collector;
GRANT SELECT ON collector.replays TO commerce_bridge;
