-- Dead letters as groups: what has the same reason, the same topic and the same producer.

-- A value that is nested deeper than the server's stack is no data exception, and is no JSON to us either:
-- without this it could not be parked, and would stop the delivery audit.
CREATE OR REPLACE FUNCTION collector.json_of(value bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
  RETURN convert_from(value, 'UTF8')::jsonb;
EXCEPTION
  WHEN data_exception OR program_limit_exceeded THEN RETURN NULL;
END
$$;

-- Generated, so that rows of before have it too, and those that older workers park meanwhile.
ALTER TABLE collector.dead_letters
  ADD COLUMN producer text GENERATED ALWAYS AS (left(coalesce(
    nullif(collector.json_of(value) ->> 'source', ''),
    nullif(jsonb_path_query_first(headers,
      '$[*] ? (@.name == "ce_source" || @.name == "source" || @.name == "producer").text') #>> '{}', '')), 200)) STORED;

COMMENT ON COLUMN collector.dead_letters.producer IS
  'Who sent the message by its own account: the event''s source, or else a header ce_source, source or producer. Anybody can claim any.';

CREATE INDEX dead_letters_groups
  ON collector.dead_letters (status, reason, topic, producer, parked_at);
