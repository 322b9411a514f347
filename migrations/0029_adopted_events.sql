-- Which events of the outbox `after-restore` has added: they were told, and the shop has lost what they tell of.

ALTER TABLE commerce.outbox ADD COLUMN adopted_at timestamptz;

COMMENT ON COLUMN commerce.outbox.adopted_at IS
  'When the event was added after a restore, since Kafka has it; null if it was written with its change, which then is in these tables.';
