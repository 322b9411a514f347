-- What has to be told outside: written together with event_handled, and delivered afterwards.

CREATE TABLE collector.notifications (
  event_id     text        NOT NULL,
  name         text        NOT NULL,
  status       text        NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending', 'delivered', 'refused')),
  detail       text,
  created_at   timestamptz NOT NULL DEFAULT now(),
  delivered_at timestamptz,
  PRIMARY KEY (event_id, name),
  CHECK ((status = 'delivered') = (delivered_at IS NOT NULL))
);

COMMENT ON TABLE collector.notifications IS
  'A transactional outbox: each notification that an event is due, once, written in the same statement as its row in event_handled.';
COMMENT ON COLUMN collector.notifications.name IS
  'Which notification, as its declaration names it.';
COMMENT ON COLUMN collector.notifications.detail IS
  'Why the receiver has refused it for good. Its event is then a dead letter.';

CREATE INDEX notifications_pending ON collector.notifications (event_id, name)
  WHERE status = 'pending';

GRANT SELECT, INSERT ON collector.notifications TO commerce_collector;
GRANT UPDATE (status, detail, delivered_at) ON collector.notifications TO commerce_collector;
