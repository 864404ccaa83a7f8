-- What humans hold the swarm back with, and what was announced beforehand.

-- name: kill_switch
-- index: kill_switch primary key, backwards
SELECT is_on, reason FROM dataswarm.kill_switch ORDER BY id DESC LIMIT 1;

-- name: set_kill_switch
-- index: kill_switch primary key
INSERT INTO dataswarm.kill_switch (at, is_on, by, reason)
VALUES (coalesce(%(now)s::timestamptz, statement_timestamp()), %(is_on)s::boolean, %(by)s::text, %(reason)s::text);

-- name: caps
-- index: caps primary key (a handful of rows)
SELECT scope, autonomy, by, reason, at FROM dataswarm.caps ORDER BY scope;

-- name: set_cap
-- index: caps primary key
INSERT INTO dataswarm.caps (scope, autonomy, by, reason, at)
VALUES (
    %(scope)s::text, %(autonomy)s::text, %(by)s::text, %(reason)s::text,
    coalesce(%(now)s::timestamptz, statement_timestamp())
)
ON CONFLICT (scope) DO UPDATE SET
    autonomy = EXCLUDED.autonomy, by = EXCLUDED.by, reason = EXCLUDED.reason, at = EXCLUDED.at;

-- name: lift_cap
-- index: caps primary key
DELETE FROM dataswarm.caps WHERE scope = %(scope)s::text;

-- name: silences
-- index: silences_ends (ends_at)
SELECT id, pattern, by, reason, ends_at FROM dataswarm.silences
WHERE ends_at > coalesce(%(now)s::timestamptz, statement_timestamp()) ORDER BY id;

-- name: silence
-- index: silences primary key
INSERT INTO dataswarm.silences (pattern, by, reason, at, ends_at)
VALUES (
    %(pattern)s::text, %(by)s::text, %(reason)s::text, coalesce(%(now)s::timestamptz, statement_timestamp()),
    coalesce(%(now)s::timestamptz, statement_timestamp()) + make_interval(secs => %(seconds)s::float8)
)
RETURNING id, pattern, by, reason, ends_at;

-- name: end_silence
-- index: silences primary key
UPDATE dataswarm.silences SET ends_at = coalesce(%(now)s::timestamptz, statement_timestamp())
WHERE id = %(id)s::bigint AND ends_at > coalesce(%(now)s::timestamptz, statement_timestamp());

-- name: planned_changes
-- index: planned_changes_ends (ends_at)
SELECT id, pattern, kind, by, reason, starts_at, ends_at, remediation_id FROM dataswarm.planned_changes
WHERE ends_at > coalesce(%(now)s::timestamptz, statement_timestamp())
  AND starts_at <= coalesce(%(now)s::timestamptz, statement_timestamp())
ORDER BY id;

-- name: plan_change
-- index: planned_changes primary key
INSERT INTO dataswarm.planned_changes (pattern, kind, by, reason, starts_at, ends_at, remediation_id)
SELECT %(pattern)s::text, %(kind)s::text, %(by)s::text, %(reason)s::text, beginning.at,
       beginning.at + make_interval(secs => %(seconds)s::float8), %(remediation_id)s::bigint
FROM (
    SELECT coalesce(%(starts_at)s::timestamptz, %(now)s::timestamptz, statement_timestamp()) AS at
) AS beginning
RETURNING id, pattern, kind, by, reason, starts_at, ends_at, remediation_id;
