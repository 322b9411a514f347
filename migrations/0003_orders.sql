-- The shop's side: orders with their payments, likes, and what the delivery audit has confirmed.

CREATE TABLE commerce.orders (
  order_id     text        PRIMARY KEY,
  user_id      text        NOT NULL,
  status       text        NOT NULL CHECK (status IN ('PLACED', 'CONFIRMED', 'CANCELLED')),
  total_amount bigint      NOT NULL CHECK (total_amount >= 0),
  cause        text        CHECK (cause IN ('payment-failed', 'requested', 'timed-out')),
  reason       text,
  created_at   timestamptz NOT NULL DEFAULT now(),
  updated_at   timestamptz NOT NULL DEFAULT now(),
  CHECK ((status = 'CANCELLED') = (cause IS NOT NULL))
);

COMMENT ON TABLE commerce.orders IS
  'PLACED: stock is reserved, payment is under way. CONFIRMED and CANCELLED are decided; cause and reason tell why cancelled.';

CREATE INDEX orders_placed ON commerce.orders (created_at) WHERE status = 'PLACED';

CREATE TABLE commerce.order_items (
  order_id   text   NOT NULL REFERENCES commerce.orders,
  product_id text   NOT NULL REFERENCES commerce.products,
  quantity   bigint NOT NULL CHECK (quantity > 0),
  unit_price bigint NOT NULL CHECK (unit_price >= 0),
  PRIMARY KEY (order_id, product_id)
);

CREATE TABLE commerce.payments (
  order_id   text        PRIMARY KEY REFERENCES commerce.orders,
  payment_id text,
  amount     bigint      NOT NULL,
  status     text        NOT NULL CHECK (status IN ('captured', 'failed', 'refunded')),
  reason     text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON COLUMN commerce.payments.payment_id IS 'The gateway''s ID of the charge; null when there was none.';

CREATE TABLE commerce.product_likes (
  product_id text        NOT NULL REFERENCES commerce.products,
  user_id    text        NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (product_id, user_id)
);

COMMENT ON TABLE commerce.product_likes IS 'Who likes what: a set, so liking twice is liking once.';

ALTER TABLE commerce.outbox ADD COLUMN delivered_at timestamptz;

COMMENT ON COLUMN commerce.outbox.delivered_at IS
  'When the delivery audit found the event in the collector''s log or among its dead letters.';

CREATE INDEX outbox_undelivered ON commerce.outbox (sequence) WHERE delivered_at IS NULL;
