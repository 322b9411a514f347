-- What a command was told that changed nothing. One that changed something is known by what it wrote.

CREATE TABLE commerce.refusals (
  command_id text        PRIMARY KEY,
  answer     jsonb       NOT NULL,
  refused_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE commerce.refusals IS
  'Commands that changed nothing, with their answers: the same command again gets the same answer, however late.';
COMMENT ON COLUMN commerce.refusals.command_id IS 'The ID of the command''s workflow.';

-- One statement, since each costs a round trip. The function is volatile, so what it reads is read after
-- the lock was granted, and has what the lock's last holder committed.
CREATE FUNCTION commerce.refusal_of(command text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('command/' || command, 0));
  RETURN (SELECT refusals.answer FROM commerce.refusals WHERE refusals.command_id = command);
END
$$;

COMMENT ON FUNCTION commerce.refusal_of IS
  'The answer of a command that was refused, if it was. Until the transaction ends, no other can decide the command.';

GRANT SELECT, INSERT ON commerce.refusals TO commerce_shop;
