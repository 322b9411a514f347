-- What telling the journey of an event needs, and finding a product by its name.

-- The API tells what an event says before it is logged, too. It still writes nothing there.
GRANT SELECT (event_id, sequence, topic, key, type, payload, created_at, published_at, partition, "offset",
  left_behind_at) ON commerce.outbox TO commerce_api;

-- By the beginnings of words, in any language. Names do not change, so updates of the stock stay off it.
CREATE INDEX products_name_words ON commerce.products USING gin (to_tsvector('simple', name));
