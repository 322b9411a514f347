-- Who may do what: a role for each kind of process, none of which can touch what it does not need.
-- Roles belong to the whole server and rights to this database, so what is there already is kept.
-- docs/decisions/0012-database-roles.md says why it is done this way.

DO $$
DECLARE
  process_roles constant text[] := ARRAY['commerce_shop', 'commerce_collector', 'commerce_bridge',
    'commerce_api', 'commerce_operator'];
  reader constant text := 'commerce_collector_reader';
  role_name text;
  remedy text := '';
BEGIN
  FOREACH role_name IN ARRAY process_roles || reader LOOP
    CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = role_name);
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
    EXCEPTION
      -- Another database of this server is migrated at the same time; a lock would not reach over there.
      WHEN duplicate_object OR unique_violation THEN NULL;
      WHEN insufficient_privilege THEN
        remedy := remedy || format(' CREATE ROLE %I NOLOGIN;', role_name);
    END;
  END LOOP;

  FOREACH role_name IN ARRAY ARRAY['commerce_api', 'commerce_operator'] LOOP
    BEGIN
      IF remedy <> '' THEN
        RAISE insufficient_privilege;
      ELSIF NOT pg_has_role(role_name, reader, 'USAGE') THEN
        EXECUTE format('GRANT %I TO %I', reader, role_name);
      END IF;
    EXCEPTION
      WHEN unique_violation THEN NULL;
      WHEN insufficient_privilege THEN
        remedy := remedy || format(' GRANT %I TO %I;', reader, role_name);
    END;
  END LOOP;
  IF remedy <> '' THEN
    RAISE insufficient_privilege USING MESSAGE = format(
      'The user %s may not make the roles that the processes work under. Have somebody run this who may, and migrate again:%s GRANT %s TO %I;',
      current_user, remedy, array_to_string(process_roles, ', '), current_user);
  END IF;

  -- A process that connects as this user takes its role on.
  FOREACH role_name IN ARRAY process_roles LOOP
    CONTINUE WHEN pg_has_role(current_user, role_name, 'SET');
    BEGIN
      EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', role_name, current_user);
    EXCEPTION
      WHEN unique_violation THEN NULL;
      -- Then the processes need users of their own; they say so when they are given this one.
      WHEN insufficient_privilege THEN
        RAISE NOTICE 'The user % may not act as %.', current_user, role_name;
    END;
  END LOOP;
END
$$;

-- The shop's worker. What has been written to the outbox is never changed, only marked.
GRANT USAGE ON SCHEMA commerce TO commerce_shop;
GRANT SELECT, INSERT, UPDATE ON commerce.products, commerce.orders, commerce.payments TO commerce_shop;
GRANT SELECT, INSERT ON commerce.stock_adjustments, commerce.order_items, commerce.outbox TO commerce_shop;
GRANT UPDATE (published_at, partition, "offset", delivered_at) ON commerce.outbox TO commerce_shop;
GRANT SELECT, INSERT, DELETE ON commerce.product_likes TO commerce_shop;

-- The collector's worker. The log and the guard are append-only for it, too.
GRANT USAGE ON SCHEMA collector TO commerce_collector;
GRANT SELECT, INSERT ON collector.event_log, collector.event_handled TO commerce_collector;
GRANT SELECT, INSERT, UPDATE ON collector.product_metrics, collector.product_metrics_daily,
  collector.product_user_metrics, collector.dead_letters TO commerce_collector;
GRANT SELECT ON collector.event_effects TO commerce_collector;

-- Whoever reads the collector and no more: the API and operators, each with this as one of its roles.
GRANT USAGE ON SCHEMA collector TO commerce_collector_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA collector TO commerce_collector_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA collector GRANT SELECT ON TABLES TO commerce_collector_reader;

-- The bridge asks what is done, by ID; it never sees what is in a row.
GRANT USAGE ON SCHEMA collector TO commerce_bridge;
GRANT SELECT (event_id) ON collector.event_handled TO commerce_bridge;
GRANT SELECT (event_id, workflow_id) ON collector.dead_letters TO commerce_bridge;

-- The API writes nothing but its own table: every change of state goes through a workflow.
GRANT USAGE ON SCHEMA commerce TO commerce_api;
GRANT SELECT ON commerce.products, commerce.orders, commerce.order_items, commerce.payments TO commerce_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON commerce.idempotency_keys TO commerce_api;

-- Operators compare both sides, and rebuild the metrics: that needs the lock that keeps writers out.
GRANT USAGE ON SCHEMA commerce TO commerce_operator;
GRANT SELECT ON commerce.products, commerce.product_likes, commerce.stock_adjustments, commerce.orders,
  commerce.order_items, commerce.payments, commerce.outbox TO commerce_operator;
GRANT INSERT, UPDATE, DELETE ON collector.product_metrics, collector.product_metrics_daily,
  collector.product_user_metrics TO commerce_operator;
GRANT MAINTAIN ON collector.event_handled TO commerce_operator;
