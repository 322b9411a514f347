-- A bound on the rate of one topic, beside the one of everything. A bridge of an earlier
-- version takes the bound of a topic for one of everything, and cannot read two: bound no topic before the last old
-- process has ended.

ALTER TABLE collector.consumption_holds
  DROP CONSTRAINT consumption_holds_check1,
  ADD CHECK (messages_per_second IS NULL OR partition IS NULL);

COMMENT ON COLUMN collector.consumption_holds.messages_per_second IS
  'A bound on the rate of all bridges together, in the topic or in everything, instead of a hold; null for a hold.';
