-- Verifications: one that the API runs, and what the last ones found.

CREATE TABLE collector.verifications (
  id           bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  requested_by text        NOT NULL,
  started_at   timestamptz NOT NULL DEFAULT now(),
  finished_at  timestamptz,
  outcome      text        CHECK (outcome IN ('holds', 'differs', 'incomplete')),
  failure      text,
  checks       jsonb       NOT NULL DEFAULT '[]',
  CHECK ((finished_at IS NULL) = (outcome IS NULL)),
  CHECK ((failure IS NOT NULL) = (outcome IS NOT DISTINCT FROM 'incomplete'))
);

COMMENT ON TABLE collector.verifications IS
  'The last runs of the verification, of the API and of the command line; whoever ends one deletes old ones.';
COMMENT ON COLUMN collector.verifications.failure IS
  'Why not every invariant could be checked; null when each was.';
COMMENT ON COLUMN collector.verifications.checks IS
  'Each invariant with its figures and the first of its differences.';

-- One runs at a time, however many API processes are asked.
CREATE UNIQUE INDEX verifications_running ON collector.verifications ((true)) WHERE finished_at IS NULL;

GRANT INSERT, UPDATE, DELETE ON collector.verifications TO commerce_api, commerce_operator;
-- For the metric of the last run.
GRANT SELECT (outcome, finished_at) ON collector.verifications TO commerce_collector;

-- What comparing both sides takes, beyond what the API reads already. It says nothing that the API could not tell
-- from the events of these changes and from like_count: who likes what stays closed to it.
GRANT SELECT (adjustment_id, event_id, version, previous_stock, delta, stock) ON commerce.stock_adjustments
  TO commerce_api;
GRANT SELECT (product_id) ON commerce.product_likes TO commerce_api;
