-- Looking at tasks, for people and metrics; nothing here is on a hot path.

-- name: get_task
-- index: tasks_pkey, tasks_scheduled_pkey, tasks_dead_pkey, tasks_history_id
SELECT id, agent, kind, subject, coalesce(payload::text, (SELECT body FROM dataswarm.task_blobs WHERE task_id = tasks.id)) AS payload, priority, attempt, max_attempts, deadline_seconds, created_at, key, incident_id,
       error, worker, lease_until, NULL::jsonb AS result,
       CASE WHEN lease_until > coalesce(%(now)s::timestamptz, statement_timestamp()) THEN 'leased' ELSE 'ready' END AS state
FROM dataswarm.tasks WHERE id = %(id)s::bigint
UNION ALL
SELECT id, agent, kind, subject, coalesce(payload::text, (SELECT body FROM dataswarm.task_blobs WHERE task_id = tasks_scheduled.id)) AS payload, priority, attempt, max_attempts, deadline_seconds, created_at, key, incident_id,
       error, NULL, NULL, NULL, CASE WHEN due_at IS NULL THEN 'parked' ELSE 'scheduled' END
FROM dataswarm.tasks_scheduled WHERE id = %(id)s::bigint
UNION ALL
SELECT id, agent, kind, subject, coalesce(payload::text, (SELECT body FROM dataswarm.task_blobs WHERE task_id = tasks_dead.id)) AS payload, priority, attempt, max_attempts, deadline_seconds, created_at, key, incident_id,
       error, NULL, NULL, NULL, 'failed'
FROM dataswarm.tasks_dead WHERE id = %(id)s::bigint
UNION ALL
SELECT id, agent, kind, subject, coalesce(payload::text, (SELECT body FROM dataswarm.task_blobs WHERE task_id = tasks_history.id)) AS payload, priority, attempt, max_attempts, deadline_seconds, created_at, key, incident_id,
       error, worker, NULL, result, state
FROM dataswarm.tasks_history WHERE id = %(id)s::bigint;

-- name: list_tasks
-- index: tasks_pkey, tasks_scheduled_pkey, tasks_dead_pkey, tasks_history_id, each backwards and cut at the limit
SELECT * FROM (
    (SELECT id, agent, kind, subject, coalesce(payload::text, (SELECT body FROM dataswarm.task_blobs WHERE task_id = tasks.id)) AS payload, priority, attempt, max_attempts, deadline_seconds, created_at, key,
            incident_id, error, worker, lease_until, NULL::jsonb AS result,
            CASE WHEN lease_until > coalesce(%(now)s::timestamptz, statement_timestamp())
                 THEN 'leased' ELSE 'ready' END AS state
     FROM dataswarm.tasks
     WHERE (%(agent)s::text IS NULL OR agent = %(agent)s::text) AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
       AND CASE WHEN lease_until > coalesce(%(now)s::timestamptz, statement_timestamp())
                THEN 'leased' ELSE 'ready' END = ANY (%(states)s::text[])
     ORDER BY tasks.id DESC LIMIT %(limit)s::int)
    UNION ALL
    (SELECT id, agent, kind, subject, coalesce(payload::text, (SELECT body FROM dataswarm.task_blobs WHERE task_id = tasks_scheduled.id)) AS payload, priority, attempt, max_attempts, deadline_seconds, created_at, key,
            incident_id, error, NULL, NULL, NULL, CASE WHEN due_at IS NULL THEN 'parked' ELSE 'scheduled' END
     FROM dataswarm.tasks_scheduled
     WHERE (%(agent)s::text IS NULL OR agent = %(agent)s::text) AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
       AND CASE WHEN due_at IS NULL THEN 'parked' ELSE 'scheduled' END = ANY (%(states)s::text[])
     ORDER BY tasks_scheduled.id DESC LIMIT %(limit)s::int)
    UNION ALL
    (SELECT id, agent, kind, subject, coalesce(payload::text, (SELECT body FROM dataswarm.task_blobs WHERE task_id = tasks_dead.id)) AS payload, priority, attempt, max_attempts, deadline_seconds, created_at, key,
            incident_id, error, NULL, NULL, NULL, 'failed'
     FROM dataswarm.tasks_dead
     WHERE (%(agent)s::text IS NULL OR agent = %(agent)s::text) AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
       AND 'failed' = ANY (%(states)s::text[])
     ORDER BY tasks_dead.id DESC LIMIT %(limit)s::int)
    UNION ALL
    (SELECT id, agent, kind, subject, coalesce(payload::text, (SELECT body FROM dataswarm.task_blobs WHERE task_id = tasks_history.id)) AS payload, priority, attempt, max_attempts, deadline_seconds, created_at, key,
            incident_id, error, worker, NULL, result, state
     FROM dataswarm.tasks_history
     WHERE (%(agent)s::text IS NULL OR agent = %(agent)s::text) AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
       AND %(states)s::text[] && ARRAY['succeeded', 'cancelled'] AND state = ANY (%(states)s::text[])
     ORDER BY tasks_history.id DESC LIMIT %(limit)s::int)
) AS found ORDER BY id DESC LIMIT %(limit)s::int;

-- name: task_depth
-- index: none, reads the living and the dead, never the finished
SELECT agent, kind,
       CASE WHEN lease_until > coalesce(%(now)s::timestamptz, statement_timestamp()) THEN 'leased' ELSE 'ready' END AS state,
       count(*) AS count,
       extract(epoch FROM coalesce(%(now)s::timestamptz, statement_timestamp()) - min(ready_at))::float8 AS oldest_seconds
FROM dataswarm.tasks GROUP BY 1, 2, 3
UNION ALL
SELECT agent, kind, CASE WHEN due_at IS NULL THEN 'parked' ELSE 'scheduled' END, count(*),
       extract(epoch FROM coalesce(%(now)s::timestamptz, statement_timestamp()) - min(created_at))::float8
FROM dataswarm.tasks_scheduled GROUP BY 1, 2, 3
UNION ALL
SELECT agent, kind, 'failed', count(*),
       extract(epoch FROM coalesce(%(now)s::timestamptz, statement_timestamp()) - min(died_at))::float8
FROM dataswarm.tasks_dead GROUP BY 1, 2, 3
ORDER BY 1, 2, 3;
