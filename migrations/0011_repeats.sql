-- The bridge tells a message that came again from another message with the same event ID: by where the
-- logged copy stood, never by what is in it.
GRANT SELECT (event_id, topic, partition, "offset") ON collector.event_log TO commerce_bridge;
