-- Tasks a line each, for people; nothing here is on a hot path, and payloads are left where they are.

-- name: find_tasks
-- index: tasks_pkey, tasks_scheduled_pkey, tasks_dead_pkey, tasks_history_id, each backwards and cut at the limit; a rare
-- match among the finished makes it read back as far as `since`, retention at most
SELECT * FROM (
    (SELECT id, agent, kind, subject, priority, attempt, max_attempts, created_at, error, incident_id, worker,
            lease_until, '' AS reason, leased_at AS at,
            CASE WHEN lease_until > coalesce(%(now)s::timestamptz, statement_timestamp())
                 THEN 'leased' ELSE 'ready' END AS state
     FROM dataswarm.tasks
     WHERE (%(agent)s::text IS NULL OR agent = %(agent)s::text) AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
       AND (%(subject)s::text IS NULL OR subject ~ %(subject)s::text OR split_part(subject, '#', 1) ~ %(subject)s::text)
       AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s::timestamptz)
       AND CASE WHEN lease_until > coalesce(%(now)s::timestamptz, statement_timestamp())
                THEN 'leased' ELSE 'ready' END = ANY (%(states)s::text[])
     ORDER BY tasks.id DESC LIMIT %(limit)s::int)
    UNION ALL
    (SELECT id, agent, kind, subject, priority, attempt, max_attempts, created_at, error, incident_id, NULL,
            NULL, reason, due_at, CASE WHEN due_at IS NULL THEN 'parked' ELSE 'scheduled' END
     FROM dataswarm.tasks_scheduled
     WHERE (%(agent)s::text IS NULL OR agent = %(agent)s::text) AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
       AND (%(subject)s::text IS NULL OR subject ~ %(subject)s::text OR split_part(subject, '#', 1) ~ %(subject)s::text)
       AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s::timestamptz)
       AND CASE WHEN due_at IS NULL THEN 'parked' ELSE 'scheduled' END = ANY (%(states)s::text[])
     ORDER BY tasks_scheduled.id DESC LIMIT %(limit)s::int)
    UNION ALL
    (SELECT id, agent, kind, subject, priority, attempt, max_attempts, created_at, error, incident_id, NULL,
            NULL, '', died_at, 'failed'
     FROM dataswarm.tasks_dead
     WHERE (%(agent)s::text IS NULL OR agent = %(agent)s::text) AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
       AND (%(subject)s::text IS NULL OR subject ~ %(subject)s::text OR split_part(subject, '#', 1) ~ %(subject)s::text)
       AND (%(since)s::timestamptz IS NULL OR died_at >= %(since)s::timestamptz)
       AND 'failed' = ANY (%(states)s::text[])
     ORDER BY tasks_dead.id DESC LIMIT %(limit)s::int)
    UNION ALL
    (SELECT id, agent, kind, subject, priority, attempt, max_attempts, created_at, error, incident_id, worker,
            NULL, '', finished_at, state
     FROM dataswarm.tasks_history
     WHERE (%(agent)s::text IS NULL OR agent = %(agent)s::text) AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
       AND (%(subject)s::text IS NULL OR subject ~ %(subject)s::text OR split_part(subject, '#', 1) ~ %(subject)s::text)
       AND (%(since)s::timestamptz IS NULL OR finished_at >= %(since)s::timestamptz)
       AND %(states)s::text[] && ARRAY['succeeded', 'cancelled'] AND state = ANY (%(states)s::text[])
     ORDER BY tasks_history.id DESC LIMIT %(limit)s::int)
) AS found ORDER BY id DESC LIMIT %(limit)s::int;

-- name: dead_tasks
-- index: tasks_dead_pkey, in order from the last one seen
SELECT id FROM dataswarm.tasks_dead
WHERE id > %(after)s::bigint AND (%(agent)s::text IS NULL OR agent = %(agent)s::text)
  AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
ORDER BY id LIMIT %(limit)s::int;

-- name: task_names
-- index: tasks_pkey, tasks_scheduled_pkey, tasks_dead_pkey; reads the living and the dead, never the finished
SELECT agent, kind FROM dataswarm.tasks UNION SELECT agent, kind FROM dataswarm.tasks_scheduled
UNION SELECT agent, kind FROM dataswarm.tasks_dead ORDER BY agent, kind;
