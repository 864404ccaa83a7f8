-- What agents can be asked to do.

-- name: declare_kinds
-- index: task_kinds_pkey (agent, kind)
WITH wanted AS (
    SELECT * FROM unnest(%(agents)s::text[], %(kinds)s::text[], %(max_running)s::int[], %(max_attempts)s::int[],
                         %(backoff_seconds)s::float8[], %(longest_backoff_seconds)s::float8[], %(announces)s::boolean[])
             AS w (agent, kind, max_running, max_attempts, backoff_seconds, longest_backoff_seconds, announces)
), changed AS (
    INSERT INTO dataswarm.task_kinds AS k (agent, kind, max_running, max_attempts, backoff_seconds,
                                           longest_backoff_seconds, announces)
    SELECT w.agent, w.kind, w.max_running, w.max_attempts, w.backoff_seconds, w.longest_backoff_seconds, w.announces
    FROM wanted w
    WHERE NOT EXISTS (
        SELECT FROM dataswarm.task_kinds o
        WHERE o.agent = w.agent AND o.kind = w.kind
          AND (o.max_running, o.max_attempts, o.backoff_seconds, o.longest_backoff_seconds, o.announces)
              IS NOT DISTINCT FROM
              (w.max_running, w.max_attempts, w.backoff_seconds, w.longest_backoff_seconds, w.announces))
    ORDER BY w.agent, w.kind
    ON CONFLICT (agent, kind) DO UPDATE
    SET max_running = excluded.max_running, max_attempts = excluded.max_attempts,
        backoff_seconds = excluded.backoff_seconds, longest_backoff_seconds = excluded.longest_backoff_seconds,
        announces = excluded.announces
    RETURNING k.agent
), renewed AS (
    UPDATE dataswarm.task_kinds_version SET version = gen_random_uuid() WHERE EXISTS (SELECT FROM changed)
)
SELECT count(*) AS changed FROM changed;

-- name: all_kinds
-- index: none, one small table and the one row that tells its version
SELECT v.version, k.agent, k.kind, k.max_running, k.max_attempts, k.backoff_seconds, k.longest_backoff_seconds,
       k.announces
FROM dataswarm.task_kinds_version v LEFT JOIN dataswarm.task_kinds k ON true
ORDER BY k.agent, k.kind;
