-- Cancellations that the API has promised without their outcome. Temporal has them too, and may forget: the
-- delivery audit carries out those that are left.

CREATE TABLE commerce.requested_cancellations (
  order_id     text        PRIMARY KEY,
  reason       text        NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE commerce.requested_cancellations IS
  'Cancellations answered with 202. The order may not be stored yet. The delivery audit deletes those that are done.';

GRANT INSERT (order_id, reason) ON commerce.requested_cancellations TO commerce_api;
GRANT SELECT, DELETE ON commerce.requested_cancellations TO commerce_shop;
