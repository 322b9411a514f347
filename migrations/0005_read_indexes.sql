-- What the operators' reads need.

-- A day's ranking reads that day alone. The day never changes, so updates stay off this index.
CREATE INDEX product_metrics_daily_day ON collector.product_metrics_daily (day);

ALTER TABLE collector.event_log
  ADD COLUMN recorded_in xid8 NOT NULL DEFAULT pg_current_xact_id();

COMMENT ON COLUMN collector.event_log.recorded_in IS
  'The transaction that logged the event. With event_id it is the order in which the log is read.';

-- Both with a type and, one short scan for each type, without.
CREATE INDEX event_log_read_order ON collector.event_log (type, recorded_in);
