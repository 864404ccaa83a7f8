-- name: set_timer
-- index: timers_waiting (agent, key)
INSERT INTO dataswarm.timers (agent, key, due_at, payload, subject)
VALUES (%(agent)s::text, %(key)s::text, %(until)s::timestamptz, %(payload)s::text::jsonb, %(subject)s::text)
ON CONFLICT (agent, key) WHERE fired_at IS NULL
DO UPDATE SET due_at = excluded.due_at, payload = excluded.payload, subject = excluded.subject
RETURNING id;

-- name: cancel_timer
-- index: timers_waiting (agent, key)
DELETE FROM dataswarm.timers WHERE agent = %(agent)s::text AND key = %(key)s::text AND fired_at IS NULL;

-- name: fire_timers
-- index: timers_due (due_at)
WITH due AS (
    SELECT id FROM dataswarm.timers
    WHERE fired_at IS NULL AND due_at <= coalesce(%(now)s::timestamptz, statement_timestamp())
    ORDER BY due_at LIMIT %(limit)s::int FOR UPDATE SKIP LOCKED
), fired AS (
    UPDATE dataswarm.timers t SET fired_at = coalesce(%(now)s::timestamptz, statement_timestamp())
    FROM due WHERE t.id = due.id
    RETURNING t.id, t.agent, t.subject, t.due_at
)
INSERT INTO dataswarm.events (at, topic, subject, noun, reference_id, agent)
SELECT coalesce(%(now)s::timestamptz, statement_timestamp()), 'timer.due', subject, 'timer', id, agent
FROM fired ORDER BY due_at, id;

-- name: get_timer
-- index: timers_pkey
SELECT id, agent, key, due_at, payload, subject, fired_at FROM dataswarm.timers WHERE id = %(id)s::bigint;

-- name: next_timer
-- index: timers_due (due_at)
SELECT extract(epoch FROM min(due_at) - coalesce(%(now)s::timestamptz, statement_timestamp()))::float8 AS seconds
FROM dataswarm.timers WHERE fired_at IS NULL;

-- name: forget_timers
-- index: timers_fired (fired_at)
DELETE FROM dataswarm.timers
WHERE fired_at < coalesce(%(now)s::timestamptz, statement_timestamp()) - make_interval(days => %(days)s::int);
