-- What listing orders needs: a page is read from an index; with a product and one status, from all of the product's.

-- Both serve their statuses one by one, undecided orders by age and decided ones newest first, and so also
-- what the two narrower indexes were for.
CREATE INDEX orders_by_status ON commerce.orders (status, created_at, order_id);
CREATE INDEX orders_of_user ON commerce.orders (user_id, status, created_at, order_id);

-- The orders of a product. An order reserves its stock in the statement that places it, so both have the
-- same time.
CREATE INDEX stock_adjustments_of_orders ON commerce.stock_adjustments (product_id, created_at, order_id)
  WHERE reason = 'order';

-- Last, since it keeps readers out until the end.
DROP INDEX commerce.orders_placed;
DROP INDEX commerce.orders_undecided_of_user;

GRANT SELECT (product_id, order_id, reason, created_at) ON commerce.stock_adjustments TO commerce_api;
