-- Projections are declared in projections/, and the database knows which declaration each table is of.

CREATE TABLE collector.projections (
  table_name   text        PRIMARY KEY,
  definition   text        NOT NULL,
  migration    integer     NOT NULL,
  writers_from integer     NOT NULL DEFAULT 0,
  built_at     timestamptz
);

COMMENT ON TABLE collector.projections IS 'The tables that handled events are added up into.';
COMMENT ON COLUMN collector.projections.definition IS 'Stands for the declaration that its last migration was written for.';
COMMENT ON COLUMN collector.projections.migration IS 'The number of that migration.';
COMMENT ON COLUMN collector.projections.writers_from IS
  'The fence: a worker that knows no migration of this number would leave the table incomplete, and its updates are refused.';
COMMENT ON COLUMN collector.projections.built_at IS
  'When it was last built from all handled events; null while it lacks some.';

-- Marks a table as not built: what was handled before is not in it, and an older worker adds nothing.
-- With no event handled there is nothing to build, and older workers are refused from the start.
CREATE FUNCTION collector.declare_projection(name text, declared text, number integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO collector.projections (table_name, definition, migration)
  VALUES (name, declared, number)
  ON CONFLICT (table_name) DO UPDATE
    SET definition = excluded.definition, migration = excluded.migration, built_at = NULL;
  IF EXISTS (SELECT FROM collector.event_handled) THEN
    RETURN;
  END IF;
  LOCK TABLE collector.event_handled IN EXCLUSIVE MODE;
  UPDATE collector.projections SET built_at = now(), writers_from = number
  WHERE table_name = name AND NOT EXISTS (SELECT FROM collector.event_handled);
END
$$;

-- These three tables have been kept from the first event on.
INSERT INTO collector.projections (table_name, definition, migration, built_at) VALUES
  ('product_metrics', 'f9e19c256d8e6b70', 13, now()),
  ('product_metrics_daily', '2813ebe0baa5b880', 13, now()),
  ('product_user_metrics', '7736733e45df8056', 13, now());

GRANT SELECT ON collector.projections TO commerce_collector;
GRANT UPDATE (writers_from, built_at) ON collector.projections TO commerce_operator;
