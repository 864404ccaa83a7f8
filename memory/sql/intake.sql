-- name: publish_events
-- index: none read; rows into the day's partition
INSERT INTO dataswarm.events (at, topic, subject, noun, reference_id, agent)
SELECT coalesce(%(now)s::timestamptz, statement_timestamp()), w.topic, w.subject, w.noun, w.reference_id, coalesce(w.agent, '')
FROM unnest(string_to_array(%(topics)s::text, U&'\001E'), string_to_array(%(subjects)s::text, U&'\001E'),
            string_to_array(%(nouns)s::text, U&'\001E'), string_to_array(%(agents)s::text, U&'\001E'),
            %(reference_ids)s::bigint[]) AS w (topic, subject, noun, agent, reference_id)
RETURNING id;
