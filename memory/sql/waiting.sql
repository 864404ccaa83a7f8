-- What cannot run now: promoted when its time comes or what it waits for is released.

-- name: promote_due
-- index: tasks_scheduled_due (due_at)
WITH due AS (
    SELECT id FROM dataswarm.tasks_scheduled
    WHERE due_at <= coalesce(%(now)s::timestamptz, statement_timestamp()) AND NOT exclusive
    ORDER BY due_at LIMIT %(limit)s::int FOR UPDATE SKIP LOCKED
), moved AS (
    DELETE FROM dataswarm.tasks_scheduled s USING due WHERE s.id = due.id RETURNING s.*
)
INSERT INTO dataswarm.tasks (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds,
                             created_at, ready_at, key, key_outlives, exclusive, incident_id, error)
SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
       coalesce(%(now)s::timestamptz, statement_timestamp()), key, key_outlives, exclusive, incident_id, error
FROM moved
RETURNING agent;

-- name: park_due
-- index: tasks_scheduled_due (due_at)
UPDATE dataswarm.tasks_scheduled s SET reason = 'subject', due_at = NULL
FROM (SELECT id FROM dataswarm.tasks_scheduled
      WHERE due_at <= coalesce(%(now)s::timestamptz, statement_timestamp()) AND exclusive
      ORDER BY due_at LIMIT %(limit)s::int FOR UPDATE SKIP LOCKED) AS due
WHERE s.id = due.id;

-- name: promote_parked
-- index: tasks_scheduled_subject (subject, priority desc, id), anti-joined with keys_pkey (scope, key)
WITH free AS MATERIALIZED (
    SELECT DISTINCT ON (s.subject) s.id, s.subject
    FROM dataswarm.tasks_scheduled s
    WHERE s.reason = 'subject'
      AND NOT EXISTS (
          SELECT FROM dataswarm.keys k
          WHERE k.scope = 'subject' AND k.key = s.subject
            AND (k.expires_at IS NULL OR k.expires_at > coalesce(%(now)s::timestamptz, statement_timestamp())))
    ORDER BY s.subject, s.priority DESC, s.id LIMIT %(limit)s::int
), locked AS MATERIALIZED (
    SELECT s.id, s.subject FROM dataswarm.tasks_scheduled s
    WHERE s.id IN (SELECT id FROM free) AND s.reason = 'subject'
    ORDER BY s.subject FOR UPDATE SKIP LOCKED
), taken AS (
    INSERT INTO dataswarm.keys (scope, key, holder)
    SELECT 'subject', subject, id::text FROM locked ORDER BY subject
    ON CONFLICT (scope, key) DO UPDATE SET holder = excluded.holder, expires_at = NULL
    WHERE keys.expires_at <= coalesce(%(now)s::timestamptz, statement_timestamp())
    RETURNING holder
), moved AS (
    DELETE FROM dataswarm.tasks_scheduled s USING taken WHERE s.id = taken.holder::bigint RETURNING s.*
)
INSERT INTO dataswarm.tasks (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds,
                             created_at, ready_at, key, key_outlives, exclusive, incident_id, error)
SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
       coalesce(%(now)s::timestamptz, statement_timestamp()), key, key_outlives, exclusive, incident_id, error
FROM moved
RETURNING agent;

-- name: release_subject
-- index: keys_pkey (scope, key), tasks_scheduled_subject (subject, priority desc, id)
WITH held AS MATERIALIZED (
    SELECT key FROM dataswarm.keys
    WHERE scope = 'subject' AND key = %(subject)s::text AND holder = %(holder)s::text FOR UPDATE
), next AS MATERIALIZED (
    SELECT id FROM dataswarm.tasks_scheduled
    WHERE reason = 'subject' AND subject = %(subject)s::text AND EXISTS (SELECT FROM held)
    ORDER BY priority DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED
), moved AS MATERIALIZED (
    DELETE FROM dataswarm.tasks_scheduled s USING next WHERE s.id = next.id RETURNING s.*
), handed AS (
    UPDATE dataswarm.keys k SET holder = moved.id::text, expires_at = NULL
    FROM moved WHERE k.scope = 'subject' AND k.key = %(subject)s::text
), freed AS (
    DELETE FROM dataswarm.keys k USING held
    WHERE k.scope = 'subject' AND k.key = held.key AND NOT EXISTS (SELECT FROM moved)
)
INSERT INTO dataswarm.tasks (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds,
                             created_at, ready_at, key, key_outlives, exclusive, incident_id, error)
SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
       coalesce(%(now)s::timestamptz, statement_timestamp()), key, key_outlives, exclusive, incident_id, error
FROM moved
RETURNING agent;

-- name: expire_subject
-- index: keys_pkey (scope, key)
UPDATE dataswarm.keys SET expires_at = %(until)s::timestamptz
WHERE scope = 'subject' AND key = %(subject)s::text AND holder = %(holder)s::text;

-- name: next_due
-- index: tasks_scheduled_due (due_at), tasks_scheduled_subject
SELECT extract(epoch FROM (SELECT min(due_at) FROM dataswarm.tasks_scheduled WHERE due_at IS NOT NULL)
                          - coalesce(%(now)s::timestamptz, statement_timestamp()))::float8 AS seconds,
       EXISTS (SELECT FROM dataswarm.tasks_scheduled WHERE reason = 'subject') AS parked;
