-- Dead letters that are more than one message, or that the dead-letter topic does not have.

ALTER TABLE collector.dead_letters
  ADD COLUMN last_offset bigint CHECK (last_offset >= "offset"),
  ADD COLUMN copied      boolean NOT NULL DEFAULT false,
  ADD COLUMN copy_error  text;
-- Until now a workflow ended only once the topic had the copy.
UPDATE collector.dead_letters SET copied = true;
COMMENT ON COLUMN collector.dead_letters.last_offset IS
  'Set where no message could be read: value is then the raw bytes from offset to here, or null where they were gone. It cannot be redriven.';
COMMENT ON COLUMN collector.dead_letters.copied IS
  'Whether the dead-letter topic has a copy.';
COMMENT ON COLUMN collector.dead_letters.copy_error IS
  'Why the dead-letter topic will never take the copy.';
COMMENT ON COLUMN collector.dead_letters.headers IS
  'A list of {name, text}, {name, base64} where the bytes are no text, or {name, value: null}; with nameBase64 where the name is no text.';
