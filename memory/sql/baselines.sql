-- What an agent knew of a source after its last look.

-- name: baseline
-- index: baselines primary key
SELECT agent, source, version, value FROM dataswarm.baselines
WHERE agent = %(agent)s::text AND source = %(source)s::text;

-- name: first_baseline
-- index: baselines primary key
INSERT INTO dataswarm.baselines (agent, source, version, value, at)
VALUES (
    %(agent)s::text, %(source)s::text, 1, %(value)s::jsonb, coalesce(%(now)s::timestamptz, statement_timestamp())
)
ON CONFLICT (agent, source) DO NOTHING
RETURNING agent, source, version, value;

-- name: swap_baseline
-- index: baselines primary key
UPDATE dataswarm.baselines SET
    version = version + 1, value = %(value)s::jsonb, at = coalesce(%(now)s::timestamptz, statement_timestamp())
WHERE agent = %(agent)s::text AND source = %(source)s::text AND version = %(expected)s::integer
RETURNING agent, source, version, value;
