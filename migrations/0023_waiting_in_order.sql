-- What waits in the outbox, the oldest first: the state of the system is read every second, and a backlog of any
-- length must cost it no more than its beginning.

CREATE INDEX IF NOT EXISTS outbox_waiting ON commerce.outbox (sequence) WHERE published_at IS NULL;
