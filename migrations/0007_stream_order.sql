-- What following the handled events live needs.

ALTER TABLE collector.event_handled
  ADD COLUMN handled_in xid8 NOT NULL DEFAULT pg_current_xact_id();

COMMENT ON COLUMN collector.event_handled.handled_in IS
  'The transaction that applied the event''s effects. With a snapshot it tells what has been committed since.';

-- Grows at its end alone, so that it costs the inserts next to nothing.
CREATE INDEX event_handled_in ON collector.event_handled (handled_in);

-- Rows lie in the order of their time. The newest pages are not summarized yet, and are always read.
CREATE INDEX event_handled_at ON collector.event_handled USING brin (handled_at)
  WITH (autosummarize = on);
