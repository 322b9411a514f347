-- The shop's side: products with their stock, and the outbox of its events.

CREATE SCHEMA commerce;

CREATE TABLE commerce.products (
  product_id    text        PRIMARY KEY,
  name          text        NOT NULL,
  price         bigint      NOT NULL CHECK (price >= 0),
  stock         bigint      NOT NULL CHECK (stock >= 0),
  stock_version bigint      NOT NULL,
  like_count    bigint      NOT NULL DEFAULT 0 CHECK (like_count >= 0),
  like_version  bigint      NOT NULL DEFAULT 0,
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE commerce.products IS
  'Products for sale. stock_version and like_version count the changes; the events carry them.';

CREATE TABLE commerce.stock_adjustments (
  adjustment_id  text        PRIMARY KEY,
  product_id     text        NOT NULL REFERENCES commerce.products,
  delta          bigint      NOT NULL,
  previous_stock bigint      NOT NULL,
  stock          bigint      NOT NULL,
  version        bigint      NOT NULL,
  reason         text        NOT NULL,
  order_id       text,
  event_id       text        NOT NULL,
  created_at     timestamptz NOT NULL DEFAULT now(),
  UNIQUE (product_id, version)
);

COMMENT ON TABLE commerce.stock_adjustments IS
  'Every change of stock, once: the primary key makes a repeated request answer its first outcome.';

CREATE TABLE commerce.outbox (
  event_id     text        PRIMARY KEY,
  sequence     bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  topic        text        NOT NULL,
  key          text        NOT NULL,
  type         text        NOT NULL,
  payload      jsonb       NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  published_at timestamptz,
  partition    integer,
  "offset"     bigint
);

COMMENT ON TABLE commerce.outbox IS
  'Events, written in the transaction of the change that they tell of. The workflow that wrote them publishes them.';
COMMENT ON COLUMN commerce.outbox.sequence IS
  'Drawn while the row of the aggregate is locked: within a key it is the order of the commits.';

CREATE INDEX outbox_unpublished ON commerce.outbox (topic, key, sequence) WHERE published_at IS NULL;

CREATE TABLE commerce.idempotency_keys (
  scope        bytea       PRIMARY KEY,
  request_hash bytea       NOT NULL,
  claim        uuid        NOT NULL,
  claimed_until timestamptz NOT NULL,
  status       integer,
  headers      jsonb,
  body         text,
  created_at   timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE commerce.idempotency_keys IS
  'First answers to requests with an Idempotency-Key. scope is the hash of secret, user, route and key.';

CREATE INDEX idempotency_keys_created_at ON commerce.idempotency_keys (created_at);
