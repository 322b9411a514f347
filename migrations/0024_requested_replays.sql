-- Ranges that an operator has read again, beside those that the audit finds.

ALTER TABLE collector.replays
  DROP CONSTRAINT replays_reason_check,
  ADD CONSTRAINT replays_reason_check CHECK (reason IN ('UNACCOUNTED', 'REQUESTED')),
  ADD COLUMN requested_by text;

COMMENT ON COLUMN collector.replays.requested_by IS
  'Which operator asked for it; null for what the audit found.';

GRANT INSERT (topic, partition, first_offset, last_offset, next_offset, reason, requested_by)
  ON collector.replays TO commerce_api, commerce_operator;
