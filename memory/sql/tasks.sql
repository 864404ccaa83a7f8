-- Tasks are found by `id = ANY (…)` and never by a join: before a table was analysed, or while nearly no lease is
-- set, the planner thinks that `lease_until > now` leaves one row, and a join becomes a nested loop over everything.
-- Tokens are random per claim, so `token = ANY (…)` beside the ids names the pairs.
--
-- Enqueuing takes text as one string parted by U+001E, which JSON, names and asset references never hold: the driver
-- quotes each element of an array by itself. What all tasks of a batch share is given once.

-- name: enqueue_plain
-- index: none read but the version's one row; for tasks without key, subject, delay, limit or blob
INSERT INTO dataswarm.tasks (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                             ready_at, key_outlives, exclusive, announces, incident_id, error)
SELECT nextval('dataswarm.task_ids'), coalesce(w.agent, %(agent)s::text), coalesce(w.kind, %(kind)s::text),
       coalesce(w.subject, %(subject)s::text), w.payload::jsonb, coalesce(w.priority, %(priority)s::int), 0,
       coalesce(w.max_attempts, %(attempts)s::int), coalesce(w.deadline, %(deadline)s::float8),
       coalesce(%(now)s::timestamptz, statement_timestamp()),
       coalesce(%(now)s::timestamptz, statement_timestamp()), false, false,
       coalesce(w.announces, %(announced)s::boolean), w.incident_id, ''
FROM unnest(string_to_array(%(payloads)s::text, U&'\001E'), string_to_array(%(agents)s::text, U&'\001E'),
            string_to_array(%(kinds)s::text, U&'\001E'), string_to_array(%(subjects)s::text, U&'\001E'),
            %(priorities)s::int[], %(max_attempts)s::int[], %(deadlines)s::float8[], %(announces)s::boolean[],
            %(incident_ids)s::bigint[])
     AS w (payload, agent, kind, subject, priority, max_attempts, deadline, announces, incident_id)
WHERE (SELECT version FROM dataswarm.task_kinds_version) = %(version)s::uuid
RETURNING id;

-- name: enqueue_keyed
-- index: keys_pkey (scope, key)
WITH wanted AS MATERIALIZED (
    SELECT nextval('dataswarm.task_ids') AS id, w.position, w.payload::jsonb AS payload, w.body, w.key, w.incident_id,
           coalesce(w.agent, %(agent)s::text) AS agent, coalesce(w.kind, %(kind)s::text) AS kind,
           coalesce(w.subject, %(subject)s::text) AS subject, coalesce(w.priority, %(priority)s::int) AS priority,
           coalesce(w.max_attempts, %(attempts)s::int) AS max_attempts,
           coalesce(w.deadline, %(deadline)s::float8) AS deadline,
           coalesce(w.announces, %(announced)s::boolean) AS announces,
           coalesce(w.outlives, false) AS outlives, coalesce(w.exclusive, false) AS exclusive,
           coalesce(w.is_limited, false) AS is_limited, coalesce(w.delay, 0) AS delay,
           coalesce(%(now)s::timestamptz, statement_timestamp()) AS at
    FROM unnest(string_to_array(%(payloads)s::text, U&'\001E', ''), string_to_array(%(agents)s::text, U&'\001E'),
                string_to_array(%(kinds)s::text, U&'\001E'), string_to_array(%(subjects)s::text, U&'\001E'),
                %(priorities)s::int[], %(max_attempts)s::int[], %(deadlines)s::float8[], %(announces)s::boolean[],
                %(incident_ids)s::bigint[], %(bodies)s::text[], %(keys)s::text[], %(outliving)s::boolean[],
                %(exclusive)s::boolean[], %(limited)s::boolean[], %(delays)s::float8[])
         WITH ORDINALITY
         AS w (payload, agent, kind, subject, priority, max_attempts, deadline, announces, incident_id, body,
               key, outlives, exclusive, is_limited, delay, position)
    WHERE (SELECT version FROM dataswarm.task_kinds_version) = %(version)s::uuid
), keyed AS (
    INSERT INTO dataswarm.keys (scope, key, holder)
    SELECT DISTINCT ON (key) 'task', key, id::text FROM wanted WHERE key IS NOT NULL ORDER BY key, position
    ON CONFLICT (scope, key) DO NOTHING
    RETURNING key, holder
), admitted AS MATERIALIZED (
    SELECT w.* FROM wanted w LEFT JOIN keyed k ON k.key = w.key AND k.holder = w.id::text
    WHERE w.key IS NULL OR k.key IS NOT NULL
), kept AS (
    INSERT INTO dataswarm.task_blobs (task_id, body, at) SELECT id, body, at FROM admitted WHERE body IS NOT NULL
), taken AS (
    INSERT INTO dataswarm.keys (scope, key, holder)
    SELECT DISTINCT ON (subject) 'subject', subject, id::text
    FROM admitted WHERE exclusive AND delay <= 0 ORDER BY subject, priority DESC, position
    ON CONFLICT (scope, key) DO UPDATE SET holder = excluded.holder, expires_at = NULL
    WHERE keys.expires_at <= coalesce(%(now)s::timestamptz, statement_timestamp())
    RETURNING holder
), sorted AS MATERIALIZED (
    SELECT a.*, CASE WHEN a.delay > 0 THEN 'later' WHEN a.exclusive AND t.holder IS NULL THEN 'subject'
                     WHEN a.is_limited THEN 'limit' END AS reason
    FROM admitted a LEFT JOIN taken t ON t.holder = a.id::text
), ready AS (
    INSERT INTO dataswarm.tasks (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                             ready_at, key, key_outlives, exclusive, announces, incident_id, error)
    SELECT id, agent, kind, subject, payload, priority, 0, max_attempts, deadline, at, at, key, outlives, exclusive,
           announces, incident_id, ''
    FROM sorted WHERE reason IS NULL ORDER BY position
), waiting AS (
    INSERT INTO dataswarm.tasks_scheduled (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                                       key, key_outlives, exclusive, announces, incident_id, error,
                                       reason, due_at)
    SELECT id, agent, kind, subject, payload, priority, 0, max_attempts, deadline, at, key, outlives, exclusive,
           announces, incident_id, '', reason, CASE WHEN reason = 'later' THEN at + make_interval(secs => delay) END
    FROM sorted WHERE reason IS NOT NULL
)
SELECT w.position, s.id, s.reason FROM wanted w LEFT JOIN sorted s USING (position) ORDER BY w.position;

-- name: claim_tasks
-- index: tasks_queue (agent, kind, priority desc, id + 0), then tasks_pkey; lease, worker and token are in no index: the
-- update is HOT.
-- A token is made of the claim's nonce and the id: gen_random_uuid() costs more than all the rest of a claimed row
WITH queue AS MATERIALIZED (
    SELECT k.agent, k.kind, coalesce(q.mark, 0) AS mark, coalesce(q.share, %(share)s::int) AS share
    FROM dataswarm.task_kinds k
    LEFT JOIN unnest(%(queue_agents)s::text[], %(queue_kinds)s::text[], %(marks)s::bigint[], %(shares)s::int[])
              WITH ORDINALITY AS q (agent, kind, mark, share, turn) ON q.agent = k.agent AND q.kind = k.kind
    WHERE k.agent = ANY (%(agents)s::text[])
    ORDER BY q.turn NULLS FIRST
), candidate AS MATERIALIZED (
    SELECT next.id
    FROM queue
    CROSS JOIN LATERAL (
        SELECT t.id FROM dataswarm.tasks t
        WHERE t.agent = queue.agent AND t.kind = queue.kind AND t.id + 0 >= queue.mark
          AND (t.lease_until IS NULL OR t.lease_until <= coalesce(%(now)s::timestamptz, statement_timestamp()))
        ORDER BY t.priority DESC, t.id + 0
        LIMIT queue.share
        FOR UPDATE SKIP LOCKED) AS next
    LIMIT %(limit)s::int
)
UPDATE dataswarm.tasks t
SET worker = %(worker)s::uuid, token = md5(%(nonce)s::text || t.id)::uuid, attempt = t.attempt + 1,
    leased_at = coalesce(%(now)s::timestamptz, statement_timestamp()),
    lease_until = coalesce(%(now)s::timestamptz, statement_timestamp())
                  + make_interval(secs => %(lease_seconds)s::float8)
WHERE t.id = ANY (ARRAY(SELECT id FROM candidate))
RETURNING t.id, t.agent, t.kind, t.subject,
          CASE WHEN t.payload IS NULL THEN (SELECT b.body FROM dataswarm.task_blobs b WHERE b.task_id = t.id)
               ELSE t.payload::text END,
          t.priority, t.attempt, t.max_attempts, t.deadline_seconds, t.created_at, t.key, t.token, t.lease_until,
          t.incident_id, t.error, date_part('epoch', t.leased_at - t.ready_at) AS waited;

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
-- index: tasks_pkey; keys_pkey for those with a key or a subject to themselves, tasks_scheduled_subject for who is next on
-- it. Who is next takes the finished one's place too where both are of one kind and nobody else waits for a place: as
-- many are running before as after, so the kind's lock is not needed. A kind whose limit was lowered gives no place on
WITH given AS MATERIALIZED (SELECT %(results)s::text::jsonb AS results  -- read once, not once a row
), done AS MATERIALIZED (
    DELETE FROM dataswarm.tasks
    WHERE id = ANY (%(ids)s::bigint[]) AND token = ANY (%(tokens)s::uuid[])
      AND lease_until > coalesce(%(now)s::timestamptz, statement_timestamp())
    RETURNING *, (SELECT results FROM given) -> id::text AS result
), history AS (
    INSERT INTO dataswarm.tasks_history (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                                     key, incident_id, error, worker, state, result, leased_at, finished_at)
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
    WHERE announces
), held AS MATERIALIZED (
    SELECT d.subject, d.agent, d.kind
    FROM (SELECT id::text AS holder, subject, agent, kind FROM done WHERE exclusive ORDER BY subject) AS d
    CROSS JOIN LATERAL (
        SELECT FROM dataswarm.keys k
        WHERE k.scope = 'subject' AND k.key = d.subject AND k.holder = d.holder
        LIMIT 1 FOR UPDATE) AS own
), full_ AS MATERIALIZED (
    SELECT k.agent, k.kind
    FROM dataswarm.task_kinds k
    WHERE k.max_running IS NOT NULL AND (k.agent, k.kind) IN (SELECT agent, kind FROM held)
      AND ((SELECT true FROM dataswarm.tasks_scheduled s
            WHERE s.agent = k.agent AND s.kind = k.kind AND s.reason = 'limit' LIMIT 1)
           OR k.max_running < (SELECT count(*) FROM dataswarm.tasks t WHERE t.agent = k.agent AND t.kind = k.kind)
                            + (SELECT count(*) FROM dataswarm.keys o
                               WHERE o.scope = json_build_array('running', k.agent, k.kind)::text
                                 AND o.expires_at > coalesce(%(now)s::timestamptz, statement_timestamp())))
), next AS MATERIALIZED (
    SELECT held.subject, parked.id,
           parked.is_limited AND ((held.agent, held.kind) <> (parked.agent, parked.kind)
               OR EXISTS (SELECT FROM full_ f WHERE f.agent = held.agent AND f.kind = held.kind)) AS queues
    FROM held
    CROSS JOIN LATERAL (
        SELECT s.id, s.agent, s.kind, EXISTS (SELECT FROM dataswarm.task_kinds k
               WHERE k.agent = s.agent AND k.kind = s.kind AND k.max_running IS NOT NULL) AS is_limited
        FROM dataswarm.tasks_scheduled s
        WHERE s.reason = 'subject' AND s.subject = held.subject
        ORDER BY s.priority DESC, s.id LIMIT 1 FOR UPDATE OF s SKIP LOCKED) AS parked
), queued AS (
    UPDATE dataswarm.tasks_scheduled SET reason = 'limit'
    WHERE id = ANY (ARRAY(SELECT id FROM next WHERE queues))
), moved AS MATERIALIZED (
    DELETE FROM dataswarm.tasks_scheduled WHERE id = ANY (ARRAY(SELECT id FROM next WHERE NOT queues)) RETURNING *
), handed AS (
    UPDATE dataswarm.keys k SET holder = next.id::text, expires_at = NULL
    FROM next WHERE k.scope = 'subject' AND k.key = next.subject
), unheld AS (
    DELETE FROM dataswarm.keys k
    USING (SELECT subject FROM held EXCEPT SELECT subject FROM next) AS free
    WHERE k.scope = 'subject' AND k.key = free.subject
), ready AS (
    INSERT INTO dataswarm.tasks (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                             ready_at, key, key_outlives, exclusive, announces, incident_id, error)
    SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
           coalesce(%(now)s::timestamptz, statement_timestamp()), key, key_outlives, exclusive, announces,
           incident_id, error
    FROM moved
)
SELECT (SELECT array_agg(id) FROM done) AS ids, (SELECT bool_or(announces) FROM done) AS announced,
       (SELECT array_agg(DISTINCT agent) FROM moved) AS told, EXISTS (SELECT FROM next WHERE queues) AS waits;

-- name: retry_task
-- index: tasks_pkey
WITH left_ AS (
    DELETE FROM dataswarm.tasks
    WHERE id = %(id)s::bigint AND token = %(token)s::uuid
      AND lease_until > coalesce(%(now)s::timestamptz, statement_timestamp())
    RETURNING *
)
INSERT INTO dataswarm.tasks_scheduled (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                                       key, key_outlives, exclusive, announces, incident_id, error,
                                       reason, due_at)
SELECT id, agent, kind, subject, payload, priority, attempt - %(uncounted)s::int, max_attempts, deadline_seconds,
       created_at, key, key_outlives, exclusive, announces, incident_id, coalesce(%(error)s::text, error),
       %(reason)s::text, coalesce(%(now)s::timestamptz, statement_timestamp()) + make_interval(secs => %(seconds)s::float8)
FROM left_
RETURNING id, agent, kind, subject, exclusive;

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
INSERT INTO dataswarm.tasks_dead (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                                  key, key_outlives, exclusive, announces, incident_id, error, died_at)
SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at, key,
       key_outlives, exclusive, announces, incident_id, %(error)s::text,
       coalesce(%(now)s::timestamptz, statement_timestamp())
FROM dead
RETURNING id, agent, kind, subject, exclusive;

-- name: give_back_tasks
-- index: tasks_pkey; changes no indexed column, so the update is HOT
UPDATE dataswarm.tasks
SET worker = NULL, token = NULL, leased_at = NULL, lease_until = NULL, attempt = attempt - 1
WHERE id = ANY (%(ids)s::bigint[]) AND token = ANY (%(tokens)s::uuid[])
RETURNING agent;

-- name: cancel_live
-- index: tasks_pkey; keys_pkey where it has a key. A running one of a kind with a limit keeps its place, as a key that
-- expires, until its lease would have ended
WITH gone AS MATERIALIZED (
    DELETE FROM dataswarm.tasks WHERE id = %(id)s::bigint
    RETURNING *, CASE WHEN lease_until > coalesce(%(now)s::timestamptz, statement_timestamp())
                      THEN lease_until END AS leased_until
), freed AS (
    DELETE FROM dataswarm.keys k USING gone d
    WHERE d.key IS NOT NULL AND NOT d.key_outlives
      AND k.scope = 'task' AND k.key = d.key AND k.holder = d.id::text
), history AS (
    INSERT INTO dataswarm.tasks_history (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                                         key, incident_id, error, worker, state, leased_at, finished_at)
    SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at, key,
           incident_id, error, worker, 'cancelled', leased_at, coalesce(%(now)s::timestamptz, statement_timestamp())
    FROM gone
), held AS (
    INSERT INTO dataswarm.keys (scope, key, holder, expires_at)
    SELECT json_build_array('running', g.agent, g.kind)::text, g.id::text, g.id::text, g.leased_until
    FROM gone g JOIN dataswarm.task_kinds k USING (agent, kind)
    WHERE k.max_running IS NOT NULL AND g.leased_until IS NOT NULL
)
SELECT id, agent, kind, subject, exclusive, leased_until FROM gone;

-- name: cancel_scheduled
-- index: tasks_scheduled_pkey; keys_pkey where it has a key
WITH gone AS MATERIALIZED (
    DELETE FROM dataswarm.tasks_scheduled WHERE id = %(id)s::bigint RETURNING *
), freed AS (
    DELETE FROM dataswarm.keys k USING gone d
    WHERE d.key IS NOT NULL AND NOT d.key_outlives
      AND k.scope = 'task' AND k.key = d.key AND k.holder = d.id::text
), history AS (
    INSERT INTO dataswarm.tasks_history (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                                         key, incident_id, error, state, finished_at)
    SELECT id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at, key,
           incident_id, error, 'cancelled', coalesce(%(now)s::timestamptz, statement_timestamp())
    FROM gone
)
SELECT id, agent, kind, subject, exclusive AND reason = 'limit' AS exclusive FROM gone;

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
    INSERT INTO dataswarm.tasks_scheduled (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
                                       key, key_outlives, exclusive, announces, incident_id, error,
                                       reason, due_at)
    SELECT id, agent, kind, subject, payload, priority, 0, max_attempts, deadline_seconds, created_at, key,
           key_outlives, exclusive, announces, incident_id, error, 'later',
           coalesce(%(now)s::timestamptz, statement_timestamp())
    FROM gone
)
SELECT dead.id, EXISTS (SELECT FROM gone) AS revived FROM dead;

-- name: forget_blobs
-- index: task_blobs_time (brin), then tasks_pkey, tasks_scheduled_pkey, tasks_dead_pkey, tasks_history_id
DELETE FROM dataswarm.task_blobs b
WHERE b.at < coalesce(%(now)s::timestamptz, statement_timestamp()) - make_interval(days => %(days)s::int)
  AND NOT EXISTS (SELECT FROM dataswarm.tasks t WHERE t.id = b.task_id)
  AND NOT EXISTS (SELECT FROM dataswarm.tasks_scheduled t WHERE t.id = b.task_id)
  AND NOT EXISTS (SELECT FROM dataswarm.tasks_dead t WHERE t.id = b.task_id)
  AND NOT EXISTS (SELECT FROM dataswarm.tasks_history t WHERE t.id = b.task_id);
