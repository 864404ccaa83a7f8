-- Remedies and what humans are asked about them.

-- name: propose_remediation
-- index: remediations primary key
INSERT INTO dataswarm.remediations (incident_id, decision_id, playbook, state, subject, plan, inverse, result, at)
VALUES (
    %(incident_id)s::bigint, %(decision_id)s::bigint, %(playbook)s::text, 'proposed', %(subject)s::text,
    %(plan)s::jsonb, '{}', '{}', coalesce(%(now)s::timestamptz, statement_timestamp())
)
RETURNING *;

-- name: lock_remediation
-- index: remediations primary key
SELECT * FROM dataswarm.remediations WHERE id = %(id)s::bigint FOR NO KEY UPDATE;

-- name: move_remediation
-- index: remediations primary key
UPDATE dataswarm.remediations SET
    state = %(after)s::text,
    plan = coalesce(%(plan)s::jsonb, plan),
    inverse = coalesce(%(inverse)s::jsonb, inverse),
    result = coalesce(%(result)s::jsonb, result),
    applied_at = CASE WHEN %(after)s::text = 'applied'
                      THEN coalesce(applied_at, %(now)s::timestamptz, statement_timestamp()) ELSE applied_at END,
    ended_at = CASE WHEN %(after)s::text IN ('verified', 'undone', 'failed', 'refused')
                    THEN coalesce(ended_at, %(now)s::timestamptz, statement_timestamp()) END
WHERE id = %(id)s::bigint
RETURNING *;

-- name: remedies_applied_before
-- index: remediations_incident (incident_id, id)
SELECT count(*) AS number FROM dataswarm.remediations
WHERE incident_id = %(incident_id)s::bigint AND id <> %(id)s::bigint AND applied_at IS NOT NULL;

-- name: remediation
-- index: remediations primary key
SELECT * FROM dataswarm.remediations WHERE id = %(id)s::bigint;

-- name: remediations_of_incident
-- index: remediations_incident (incident_id, id)
SELECT * FROM dataswarm.remediations WHERE incident_id = %(incident_id)s::bigint ORDER BY id;

-- name: remediations
-- index: remediations primary key, backwards
SELECT * FROM dataswarm.remediations
WHERE %(states)s::text[] IS NULL OR state = ANY (%(states)s::text[])
ORDER BY id DESC LIMIT %(limit)s::integer;
