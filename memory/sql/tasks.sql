-- Tasks are found by `id = ANY (…)` and never by a join: before a table was analysed, or while nearly no lease is
-- set, the planner thinks that `lease_until > now` leaves one row, and a join becomes a nested loop over everything.
-- Tokens are random per claim, so `token = ANY (…)` beside the ids names the pairs.

-- name: enqueue_plain
-- index: none read; for tasks without key, exclusive subject or delay
INSERT INTO dataswarm.tasks (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds,
                             created_at, ready_at, key_outlives, exclusive, incident_id, error)
SELECT nextval('dataswarm.task_ids'), w.agent, w.kind, w.subject, w.payload, w.priority, 0, w.max_attempts,
       w.deadline, coalesce(%(now)s::timestamptz, statement_timestamp()),
       coalesce(%(now)s::timestamptz, statement_timestamp()), false, false, w.incident_id, ''
FROM unnest(%(agents)s::text[], %(kinds)s::text[], %(subjects)s::text[], %(payloads)s::text[]::jsonb[],
            %(priorities)s::int[], %(max_attempts)s::int[], %(deadlines)s::float8[], %(incident_ids)s::bigint[])
     AS w (agent, kind, subject, payload, priority, max_attempts, deadline, incident_id)
RETURNING id;

-- name: enqueue_keyed
-- index: keys_pkey (scope, key)
WITH wanted AS MATERIALIZED (
    SELECT nextval('dataswarm.task_ids') AS id, w.*,
           coalesce(%(now)s::timestamptz, statement_timestamp()) AS at
    FROM unnest(%(agents)s::text[], %(kinds)s::text[], %(subjects)s::text[], %(payloads)s::text[]::jsonb[],
                %(priorities)s::int[], %(max_attempts)s::int[], %(deadlines)s::float8[], %(incident_ids)s::bigint[],
                %(keys)s::text[], %(outliving)s::boolean[], %(exclusive)s::boolean[], %(delays)s::float8[])
         WITH ORDINALITY
         AS w (agent, kind, subject, payload, priority, max_attempts, deadline, incident_id,
               key, outlives, exclusive, delay, position)
), keyed AS (
    INSERT INTO dataswarm.keys (scope, key, holder)
    SELECT DISTINCT ON (key) 'task', key, id::text FROM wanted WHERE key IS NOT NULL ORDER BY key, position
    ON CONFLICT (scope, key) DO NOTHING
    RETURNING key, holder
), admitted AS MATERIALIZED (
    SELECT w.* FROM wanted w LEFT JOIN keyed k ON k.key = w.key AND k.holder = w.id::text
    WHERE w.key IS NULL OR k.key IS NOT NULL
), taken AS (
    INSERT INTO dataswarm.keys (scope, key, holder)
    SELECT DISTINCT ON (subject) 'subject', subject, id::text
    FROM admitted WHERE exclusive AND delay <= 0 ORDER BY subject, priority DESC, position
    ON CONFLICT (scope, key) DO UPDATE SET holder = excluded.holder, expires_at = NULL
    WHERE keys.expires_at <= coalesce(%(now)s::timestamptz, statement_timestamp())
    RETURNING holder
), sorted AS MATERIALIZED (
    SELECT a.*, a.delay <= 0 AND (NOT a.exclusive OR t.holder IS NOT NULL) AS is_ready
    FROM admitted a LEFT JOIN taken t ON t.holder = a.id::text
), ready AS (
    INSERT INTO dataswarm.tasks (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds,
                                 created_at, ready_at, key, key_outlives, exclusive, incident_id, error)
    SELECT id, agent, kind, subject, payload, priority, 0, max_attempts, deadline, at, at, key, outlives, exclusive,
           incident_id, ''
    FROM sorted WHERE is_ready ORDER BY position
), waiting AS (
    INSERT INTO dataswarm.tasks_scheduled (id, agent, kind, subject, payload, priority, attempt, max_attempts,
                                           deadline_seconds, created_at, key, key_outlives, exclusive, incident_id,
                                           error, reason, due_at)
    SELECT id, agent, kind, subject, payload, priority, 0, max_attempts, deadline, at, key, outlives, exclusive,
           incident_id, '', CASE WHEN delay > 0 THEN 'later' ELSE 'subject' END,
           CASE WHEN delay > 0 THEN at + make_interval(secs => delay) END
    FROM sorted WHERE NOT is_ready
)
SELECT position, id, is_ready FROM sorted ORDER BY position;

-- name: claim_tasks
-- index: tasks_queue (agent, priority desc, id); lease, worker and token are in no index, so the update is HOT
WITH candidate AS MATERIALIZED (
    SELECT next.id
    FROM unnest(%(agents)s::text[], %(marks)s::bigint[]) AS queue (agent, mark)
    CROSS JOIN LATERAL (
        SELECT t.id FROM dataswarm.tasks t
        WHERE t.agent = queue.agent AND t.id >= queue.mark
          AND (t.lease_until IS NULL OR t.lease_until <= coalesce(%(now)s::timestamptz, statement_timestamp()))
        ORDER BY t.priority DESC, t.id
        LIMIT %(share)s::int
        FOR UPDATE SKIP LOCKED) AS next
    LIMIT %(limit)s::int
)
UPDATE dataswarm.tasks t
SET worker = %(worker)s::uuid, token = gen_random_uuid(), attempt = t.attempt + 1,
    leased_at = coalesce(%(now)s::timestamptz, statement_timestamp()),
    lease_until = coalesce(%(now)s::timestamptz, statement_timestamp())
                  + make_interval(secs => %(lease_seconds)s::float8)
WHERE t.id = ANY (ARRAY(SELECT id FROM candidate))
RETURNING t.id, t.agent, t.kind, t.subject, t.payload, t.priority, t.attempt, t.max_attempts, t.deadline_seconds,
          t.created_at, t.key, t.token, t.worker, t.lease_until, t.incident_id, t.error;

-- name: renew_tasks
-- index: tasks_pkey; changes no indexed column, so the update is HOT. A row locked by its own running transaction is
-- left out and reported as still ours, so that one long transaction does not hold up all the other renewals.
WITH locked AS MATERIALIZED (
    SELECT id FROM dataswarm.tasks
    WHERE id = ANY (%(ids)s::bigint[]) AND token = ANY (%(tokens)s::uuid[])
      AND lease_until > coalesce(%(now)s::timestamptz, statement_timestamp())
    FOR NO KEY UPDATE SKIP LOCKED
), renewed AS (
    UPDATE dataswarm.tasks
    SET lease_until = coalesce(%(now)s::timestamptz, statement_timestamp())
                      + make_interval(secs => %(lease_seconds)s::float8)
    WHERE id = ANY (ARRAY(SELECT id FROM locked))
    RETURNING id
)
SELECT id, id IN (SELECT id FROM renewed) AS is_renewed
FROM dataswarm.tasks
WHERE id = ANY (%(ids)s::bigint[]) AND token = ANY (%(tokens)s::uuid[])
  AND lease_until > coalesce(%(now)s::timestamptz, statement_timestamp());

-- name: fence_task
-- index: tasks_pkey
SELECT id FROM dataswarm.tasks
WHERE id = %(id)s::bigint AND token = %(token)s::uuid
  AND lease_until > coalesce(%(now)s::timestamptz, statement_timestamp())
FOR NO KEY UPDATE;

-- name: finish_tasks
-- index: tasks_pkey; keys_pkey for those with a key
WITH done AS MATERIALIZED (
    DELETE FROM dataswarm.tasks
    WHERE id = ANY (%(ids)s::bigint[]) AND token = ANY (%(tokens)s::uuid[])
      AND lease_until > coalesce(%(now)s::timestamptz, statement_timestamp())
    RETURNING *, %(results)s::text::jsonb -> id::text AS result
), history AS (
    INSERT INTO dataswarm.tasks_history (id, agent, kind, subject, payload, priority, attempt, max_attempts,
        deadline_seconds, created_at, key, incident_id, error, worker, state, result, leased_at, finished_at)
    SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at, key,
           incident_id, error, worker, 'succeeded', result, leased_at,
           coalesce(%(now)s::timestamptz, statement_timestamp())
    FROM done
), freed AS (
    DELETE FROM dataswarm.keys k USING done d
    WHERE d.key IS NOT NULL AND NOT d.key_outlives
      AND k.scope = 'task' AND k.key = d.key AND k.holder = d.id::text
), announced AS (
    INSERT INTO dataswarm.events (at, topic, subject, noun, reference_id)
    SELECT coalesce(%(now)s::timestamptz, statement_timestamp()), 'task.succeeded', subject, 'task', id FROM done
)
SELECT id, subject, exclusive FROM done;

-- name: retry_task
-- index: tasks_pkey
WITH left_ AS (
    DELETE FROM dataswarm.tasks
    WHERE id = %(id)s::bigint AND token = %(token)s::uuid
      AND lease_until > coalesce(%(now)s::timestamptz, statement_timestamp())
    RETURNING *
)
INSERT INTO dataswarm.tasks_scheduled (id, agent, kind, subject, payload, priority, attempt, max_attempts,
                                       deadline_seconds, created_at, key, key_outlives, exclusive, incident_id,
                                       error, reason, due_at)
SELECT id, agent, kind, subject, payload, priority, attempt - %(uncounted)s::int, max_attempts, deadline_seconds,
       created_at, key, key_outlives, exclusive, incident_id, coalesce(%(error)s::text, error), %(reason)s::text,
       coalesce(%(now)s::timestamptz, statement_timestamp()) + make_interval(secs => %(seconds)s::float8)
FROM left_
RETURNING id, subject, exclusive;

-- name: bury_task
-- index: tasks_pkey; keys_pkey where it has a key
WITH dead AS MATERIALIZED (
    DELETE FROM dataswarm.tasks
    WHERE id = %(id)s::bigint AND token = %(token)s::uuid
      AND lease_until > coalesce(%(now)s::timestamptz, statement_timestamp())
    RETURNING *
), freed AS (
    DELETE FROM dataswarm.keys k USING dead d
    WHERE d.key IS NOT NULL AND NOT d.key_outlives
      AND k.scope = 'task' AND k.key = d.key AND k.holder = d.id::text
)
INSERT INTO dataswarm.tasks_dead (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds,
                                  created_at, key, key_outlives, exclusive, incident_id, error, died_at)
SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at, key,
       key_outlives, exclusive, incident_id, %(error)s::text, coalesce(%(now)s::timestamptz, statement_timestamp())
FROM dead
RETURNING id, subject, exclusive;

-- name: give_back_tasks
-- index: tasks_pkey; changes no indexed column, so the update is HOT
UPDATE dataswarm.tasks
SET worker = NULL, token = NULL, leased_at = NULL, lease_until = NULL, attempt = attempt - 1
WHERE id = ANY (%(ids)s::bigint[]) AND token = ANY (%(tokens)s::uuid[])
RETURNING agent;

-- name: cancel_live
-- index: tasks_pkey; keys_pkey where it has a key
WITH gone AS MATERIALIZED (
    DELETE FROM dataswarm.tasks WHERE id = %(id)s::bigint RETURNING *
), freed AS (
    DELETE FROM dataswarm.keys k USING gone d
    WHERE d.key IS NOT NULL AND NOT d.key_outlives
      AND k.scope = 'task' AND k.key = d.key AND k.holder = d.id::text
), history AS (
    INSERT INTO dataswarm.tasks_history (id, agent, kind, subject, payload, priority, attempt, max_attempts,
        deadline_seconds, created_at, key, incident_id, error, worker, state, leased_at, finished_at)
    SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at, key,
           incident_id, error, worker, 'cancelled', leased_at, coalesce(%(now)s::timestamptz, statement_timestamp())
    FROM gone
)
SELECT id, subject, exclusive,
       CASE WHEN lease_until > coalesce(%(now)s::timestamptz, statement_timestamp()) THEN lease_until END AS leased_until
FROM gone;

-- name: cancel_scheduled
-- index: tasks_scheduled_pkey; keys_pkey where it has a key
WITH gone AS MATERIALIZED (
    DELETE FROM dataswarm.tasks_scheduled WHERE id = %(id)s::bigint RETURNING *
), freed AS (
    DELETE FROM dataswarm.keys k USING gone d
    WHERE d.key IS NOT NULL AND NOT d.key_outlives
      AND k.scope = 'task' AND k.key = d.key AND k.holder = d.id::text
), history AS (
    INSERT INTO dataswarm.tasks_history (id, agent, kind, subject, payload, priority, attempt, max_attempts,
        deadline_seconds, created_at, key, incident_id, error, state, finished_at)
    SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at, key,
           incident_id, error, 'cancelled', coalesce(%(now)s::timestamptz, statement_timestamp())
    FROM gone
)
SELECT id, subject FROM gone;

-- name: revive_task
-- index: tasks_dead_pkey; keys_pkey where it has a key
WITH dead AS MATERIALIZED (
    SELECT d.* FROM dataswarm.tasks_dead d WHERE d.id = %(id)s::bigint FOR UPDATE
), keyed AS (
    INSERT INTO dataswarm.keys (scope, key, holder)
    SELECT 'task', key, id::text FROM dead WHERE key IS NOT NULL
    ON CONFLICT (scope, key) DO UPDATE SET holder = excluded.holder WHERE keys.holder = excluded.holder
    RETURNING key
), gone AS (
    DELETE FROM dataswarm.tasks_dead d USING dead
    WHERE d.id = dead.id AND (dead.key IS NULL OR EXISTS (SELECT FROM keyed))
    RETURNING d.*
), waiting AS (
    INSERT INTO dataswarm.tasks_scheduled (id, agent, kind, subject, payload, priority, attempt, max_attempts,
                                           deadline_seconds, created_at, key, key_outlives, exclusive, incident_id,
                                           error, reason, due_at)
    SELECT id, agent, kind, subject, payload, priority, 0, max_attempts, deadline_seconds, created_at, key,
           key_outlives, exclusive, incident_id, error, 'later', coalesce(%(now)s::timestamptz, statement_timestamp())
    FROM gone
)
SELECT dead.id, EXISTS (SELECT FROM gone) AS revived FROM dead;
