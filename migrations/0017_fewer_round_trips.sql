-- What the shop reads right after it was granted a lock, in the statement that asks for it: each statement
-- costs a round trip. The functions are volatile, so what they read is read after the lock was granted, and
-- has what the lock's last holder committed; the rest of a statement sees only what was committed before it.

CREATE FUNCTION commerce.order_answer(command text, ordered text) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(
    (SELECT refusals.answer FROM commerce.refusals WHERE refusals.command_id = command),
    (SELECT jsonb_build_object(
        'kind', 'order',
        'status', orders.status,
        'totalAmount', orders.total_amount,
        'productIds', (
          SELECT jsonb_agg(order_items.product_id ORDER BY order_items.product_id)
          FROM commerce.order_items WHERE order_items.order_id = orders.order_id),
        'cancellation', CASE WHEN orders.cause IS NOT NULL
          THEN jsonb_build_object('cause', orders.cause, 'reason', orders.reason) END)
      FROM commerce.orders WHERE orders.order_id = ordered))
$$;

COMMENT ON FUNCTION commerce.order_answer IS
  'The state of an order, or why it was refused; null when it is not known.';

CREATE FUNCTION commerce.order_answer_in_turn(command text, ordered text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('command/' || command, 0));
  RETURN commerce.order_answer(command, ordered);
END
$$;

COMMENT ON FUNCTION commerce.order_answer_in_turn IS
  'The same. Until the transaction ends, no other can decide the order''s command.';

CREATE FUNCTION commerce.unpublished_in_turn(topics text[], keys text[], most integer)
RETURNS TABLE (topic text, key text, event_id text, type text, payload jsonb, traceparent text)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  taken boolean[];
BEGIN
  SELECT array_agg(
    pg_try_advisory_xact_lock(hashtextextended(concat_ws('/', 'outbox', turn.topic, turn.key), 0))
    ORDER BY turn.position)
  INTO taken FROM unnest(topics, keys) WITH ORDINALITY AS turn (topic, key, position);
  RETURN QUERY
    SELECT turn.topic, turn.key, outbox.event_id, outbox.type, outbox.payload, outbox.traceparent
    FROM unnest(topics, keys, taken) AS turn (topic, key, taken)
    LEFT JOIN commerce.outbox
      ON outbox.topic = turn.topic AND outbox.key = turn.key AND outbox.published_at IS NULL
    WHERE turn.taken
    ORDER BY outbox.sequence LIMIT most;
END
$$;

COMMENT ON FUNCTION commerce.unpublished_in_turn IS
  'Events to publish of those aggregates that no other relay is publishing, in order, or a row without an event of one that has none. Until the transaction ends, no other relay publishes them.';

-- The bound on a user's undecided orders asks with each order: for those of the user, and not for all of
-- the shop; and whether an order that it would refuse was answered before.
CREATE INDEX orders_undecided_of_user ON commerce.orders (user_id) WHERE status = 'PLACED';

GRANT SELECT (command_id) ON commerce.refusals TO commerce_api;
