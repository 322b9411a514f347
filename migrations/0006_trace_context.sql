-- Events keep the trace that they were written in: another run, or another process, may publish them.

ALTER TABLE commerce.outbox ADD COLUMN traceparent text;

COMMENT ON COLUMN commerce.outbox.traceparent IS
  'W3C trace context of the change that the event tells of; null when it belongs to no trace.';
