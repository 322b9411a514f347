-- How dead letters are settled: sent back to their topic, or given up with a reason.

ALTER TABLE collector.dead_letters
  ADD COLUMN attempt         integer NOT NULL DEFAULT 0,
  ADD COLUMN redriving_since timestamptz,
  ADD COLUMN redriven_from   bigint REFERENCES collector.dead_letters,
  ADD COLUMN resolved_at     timestamptz,
  ADD COLUMN resolved_by     text,
  ADD COLUMN note            text,
  ADD CONSTRAINT dead_letters_discarded_for_a_reason CHECK (status <> 'discarded' OR note IS NOT NULL);

COMMENT ON COLUMN collector.dead_letters.tries IS
  'How often this message has been taken up: one more than the dead letter that it was redriven from.';
COMMENT ON COLUMN collector.dead_letters.attempt IS
  'Redrives that have ended. The next one is the workflow redrive-<id>-<attempt + 1>.';
COMMENT ON COLUMN collector.dead_letters.redriving_since IS
  'Set while a redrive is under way: from then on the message may be in its topic again.';
COMMENT ON COLUMN collector.dead_letters.redriven_from IS
  'The dead letter whose redriven message is parked here, having failed again.';
COMMENT ON COLUMN collector.dead_letters.note IS
  'Why it was discarded, or why it could not be sent back.';

CREATE INDEX dead_letters_redriven_from ON collector.dead_letters (redriven_from)
  WHERE redriven_from IS NOT NULL;
