-- What cannot run now: promoted when its time comes or what it waits for is released. A task that needs its subject and
-- a place in its kind takes the subject first and waits for the place with it.

-- name: settle_due
-- index: tasks_scheduled_due (due_at), task_kinds_pkey; due, but it needs a subject or a place of its kind first
UPDATE dataswarm.tasks_scheduled s
SET reason = CASE WHEN exclusive THEN 'subject' ELSE 'limit' END, due_at = NULL
WHERE s.id = ANY (ARRAY(
    SELECT s.id FROM dataswarm.tasks_scheduled s
    WHERE s.due_at <= coalesce(%(now)s::timestamptz, statement_timestamp())
      AND (s.exclusive OR EXISTS (SELECT FROM dataswarm.task_kinds k
               WHERE k.agent = s.agent AND k.kind = s.kind AND k.max_running IS NOT NULL))
    ORDER BY s.due_at LIMIT %(limit)s::int FOR UPDATE OF s SKIP LOCKED))
RETURNING s.subject, s.reason = 'subject' AS for_subject;

-- name: promote_due
-- index: tasks_scheduled_due (due_at), task_kinds_pkey
WITH moved AS (
    DELETE FROM dataswarm.tasks_scheduled
    WHERE id = ANY (ARRAY(
        SELECT s.id FROM dataswarm.tasks_scheduled s
        WHERE s.due_at <= coalesce(%(now)s::timestamptz, statement_timestamp())
          AND NOT s.exclusive AND NOT EXISTS (SELECT FROM dataswarm.task_kinds k
               WHERE k.agent = s.agent AND k.kind = s.kind AND k.max_running IS NOT NULL)
        ORDER BY s.due_at LIMIT %(limit)s::int FOR UPDATE OF s SKIP LOCKED))
    RETURNING *
)
INSERT INTO dataswarm.tasks (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                             ready_at, key, key_outlives, exclusive, announces, incident_id, error)
SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
       coalesce(%(now)s::timestamptz, statement_timestamp()), key, key_outlives, exclusive, announces, incident_id,
       error
FROM moved
RETURNING agent;

-- name: parked_subjects
-- index: keys_expiring (expires_at) for subjects that came free by time; tasks_scheduled_subject, skipping from subject to
-- subject, for a page of all others: a subject may have come free between somebody's look and his parking
WITH RECURSIVE page AS (
    (SELECT subject, 1 AS number FROM dataswarm.tasks_scheduled
     WHERE reason = 'subject' AND subject > %(after)s::text ORDER BY subject LIMIT 1)
    UNION ALL
    SELECT next.subject, page.number + 1
    FROM page
    CROSS JOIN LATERAL (
        SELECT s.subject FROM dataswarm.tasks_scheduled s
        WHERE s.reason = 'subject' AND s.subject > page.subject ORDER BY s.subject LIMIT 1) AS next
    WHERE page.number < %(limit)s::int
)
SELECT subject, true AS in_page FROM page
UNION ALL
SELECT key, false FROM dataswarm.keys
WHERE scope = 'subject' AND expires_at <= coalesce(%(now)s::timestamptz, statement_timestamp());

-- name: promote_parked
-- index: tasks_scheduled_subject (subject, priority desc, id), keys_pkey (scope, key), task_kinds_pkey
WITH free AS MATERIALIZED (
    SELECT parked.id
    FROM unnest(%(subjects)s::text[]) AS w (subject)
    CROSS JOIN LATERAL (
        SELECT s.id FROM dataswarm.tasks_scheduled s
        WHERE s.reason = 'subject' AND s.subject = w.subject
        ORDER BY s.priority DESC, s.id LIMIT 1) AS parked
    WHERE NOT EXISTS (
        SELECT FROM dataswarm.keys k
        WHERE k.scope = 'subject' AND k.key = w.subject
          AND (k.expires_at IS NULL OR k.expires_at > coalesce(%(now)s::timestamptz, statement_timestamp())))
), locked AS MATERIALIZED (
    SELECT s.id, s.subject, EXISTS (SELECT FROM dataswarm.task_kinds k
               WHERE k.agent = s.agent AND k.kind = s.kind AND k.max_running IS NOT NULL) AS is_limited
    FROM dataswarm.tasks_scheduled s
    WHERE s.id = ANY (ARRAY(SELECT id FROM free)) AND s.reason = 'subject'
    ORDER BY s.subject FOR UPDATE OF s SKIP LOCKED
), taken AS MATERIALIZED (
    INSERT INTO dataswarm.keys (scope, key, holder)
    SELECT 'subject', subject, id::text FROM locked ORDER BY subject
    ON CONFLICT (scope, key) DO UPDATE SET holder = excluded.holder, expires_at = NULL
    WHERE keys.expires_at <= coalesce(%(now)s::timestamptz, statement_timestamp())
    RETURNING holder
), queued AS (
    UPDATE dataswarm.tasks_scheduled SET reason = 'limit'
    WHERE id = ANY (ARRAY(SELECT l.id FROM locked l JOIN taken t ON t.holder = l.id::text WHERE l.is_limited))
), moved AS (
    DELETE FROM dataswarm.tasks_scheduled
    WHERE id = ANY (ARRAY(SELECT l.id FROM locked l JOIN taken t ON t.holder = l.id::text WHERE NOT l.is_limited))
    RETURNING *
)
INSERT INTO dataswarm.tasks (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                             ready_at, key, key_outlives, exclusive, announces, incident_id, error)
SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
       coalesce(%(now)s::timestamptz, statement_timestamp()), key, key_outlives, exclusive, announces, incident_id,
       error
FROM moved
RETURNING agent;

-- name: release_subjects
-- index: keys_pkey (scope, key), tasks_scheduled_subject (subject, priority desc, id), task_kinds_pkey
WITH held AS MATERIALIZED (
    SELECT key FROM dataswarm.keys
    WHERE scope = 'subject' AND key = ANY (%(subjects)s::text[]) AND holder = ANY (%(holders)s::text[])
    ORDER BY key FOR UPDATE
), next AS MATERIALIZED (
    SELECT held.key AS subject, parked.*
    FROM held
    CROSS JOIN LATERAL (
        SELECT s.id, EXISTS (SELECT FROM dataswarm.task_kinds k
               WHERE k.agent = s.agent AND k.kind = s.kind AND k.max_running IS NOT NULL) AS is_limited
        FROM dataswarm.tasks_scheduled s
        WHERE s.reason = 'subject' AND s.subject = held.key
        ORDER BY s.priority DESC, s.id LIMIT 1 FOR UPDATE OF s SKIP LOCKED) AS parked
), queued AS (
    UPDATE dataswarm.tasks_scheduled SET reason = 'limit'
    WHERE id = ANY (ARRAY(SELECT id FROM next WHERE is_limited))
    RETURNING agent
), moved AS MATERIALIZED (
    DELETE FROM dataswarm.tasks_scheduled WHERE id = ANY (ARRAY(SELECT id FROM next WHERE NOT is_limited)) RETURNING *
), handed AS (
    UPDATE dataswarm.keys k SET holder = next.id::text, expires_at = NULL
    FROM next WHERE k.scope = 'subject' AND k.key = next.subject
), freed AS (
    DELETE FROM dataswarm.keys k USING held
    WHERE k.scope = 'subject' AND k.key = held.key AND NOT EXISTS (SELECT FROM next WHERE next.subject = held.key)
), ready AS (
    INSERT INTO dataswarm.tasks (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                             ready_at, key, key_outlives, exclusive, announces, incident_id, error)
    SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
           coalesce(%(now)s::timestamptz, statement_timestamp()), key, key_outlives, exclusive, announces,
           incident_id, error
    FROM moved
    RETURNING agent
)
SELECT agent, false AS is_limited FROM ready UNION ALL SELECT agent, true FROM queued;

-- name: expire_subject
-- index: keys_pkey (scope, key)
UPDATE dataswarm.keys SET expires_at = %(until)s::timestamptz
WHERE scope = 'subject' AND key = %(subject)s::text AND holder = %(holder)s::text;

-- name: lock_limited
-- index: tasks_scheduled_limit (agent, kind, priority desc, id), once a kind. Which ones are locked is kept in a setting that
-- ends with the transaction, so that `admit_limited` can follow in the same round trip
SELECT set_config('dataswarm.limited', coalesce(json_agg(json_build_array(agent, kind, max_running))::text, '[]'), true)
FROM (
    SELECT k.agent, k.kind, k.max_running
    FROM dataswarm.task_kinds k
    WHERE (SELECT true FROM dataswarm.tasks_scheduled s
           WHERE s.agent = k.agent AND s.kind = k.kind AND s.reason = 'limit'
           ORDER BY s.priority DESC, s.id LIMIT 1)
    ORDER BY k.agent, k.kind FOR NO KEY UPDATE) AS locked;

-- name: admit_limited
-- index: tasks_queue and keys_pkey to count what runs, tasks_scheduled_limit to find who is next. After lock_limited and
-- in the same transaction: whoever admitted before has committed by then, and this statement sees it
WITH room AS MATERIALIZED (
    SELECT w.agent, w.kind,
           greatest(0, coalesce(
               w.most - (SELECT count(*) FROM dataswarm.tasks t WHERE t.agent = w.agent AND t.kind = w.kind)
                      - (SELECT count(*) FROM dataswarm.keys k
                         WHERE k.scope = json_build_array('running', w.agent, w.kind)::text
                           AND k.expires_at > coalesce(%(now)s::timestamptz, statement_timestamp())),
               %(limit)s::int)) AS places
    FROM (SELECT one ->> 0 AS agent, one ->> 1 AS kind, (one ->> 2)::int AS most
          FROM json_array_elements(current_setting('dataswarm.limited')::json) AS one) AS w
), next AS MATERIALIZED (
    SELECT parked.id
    FROM room
    CROSS JOIN LATERAL (
        SELECT s.id FROM dataswarm.tasks_scheduled s
        WHERE s.agent = room.agent AND s.kind = room.kind AND s.reason = 'limit'
        ORDER BY s.priority DESC, s.id LIMIT room.places FOR UPDATE SKIP LOCKED) AS parked
), moved AS (
    DELETE FROM dataswarm.tasks_scheduled WHERE id = ANY (ARRAY(SELECT id FROM next)) RETURNING *
)
INSERT INTO dataswarm.tasks (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                             ready_at, key, key_outlives, exclusive, announces, incident_id, error)
SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
       coalesce(%(now)s::timestamptz, statement_timestamp()), key, key_outlives, exclusive, announces, incident_id,
       error
FROM moved
RETURNING agent;

-- name: next_due
-- index: tasks_scheduled_due (due_at), tasks_scheduled_subject, tasks_scheduled_limit
SELECT extract(epoch FROM (SELECT min(due_at) FROM dataswarm.tasks_scheduled WHERE due_at IS NOT NULL)
                          - coalesce(%(now)s::timestamptz, statement_timestamp()))::float8 AS seconds,
       EXISTS (SELECT FROM dataswarm.tasks_scheduled WHERE reason = 'subject') AS for_subject,
       EXISTS (SELECT FROM dataswarm.tasks_scheduled WHERE reason = 'limit') AS for_place;
