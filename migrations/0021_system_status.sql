-- What the state of the system is told from, besides what the API reads already: each bridge as it says of itself.

CREATE TABLE collector.bridges (
  bridge_id       text        PRIMARY KEY,
  mode            text        NOT NULL CHECK (mode IN ('per-event', 'coalesce')),
  in_flight       integer     NOT NULL,
  slots           integer     NOT NULL,
  paused_by       text[]      NOT NULL,
  lag_grows_since timestamptz,
  seen_at         timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE collector.bridges IS
  'The heartbeat of each bridge, every few seconds, and what it is doing. A bridge that stops deletes its row; that of a killed one grows old and is deleted by another.';
COMMENT ON COLUMN collector.bridges.lag_grows_since IS
  'Since when the consumer lag grows, as the bridge sees it; null while it does not.';

-- One process may be worker and bridge.
GRANT SELECT, INSERT, UPDATE, DELETE ON collector.bridges TO commerce_bridge, commerce_collector;
