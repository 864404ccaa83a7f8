-- name: find_effect
-- index: effects_task_id_step_key (task_id, step)
SELECT * FROM dataswarm.effects WHERE task_id = %(task_id)s::bigint AND step = %(step)s::text;

-- name: intend_effect
-- index: effects_task_id_step_key (task_id, step)
INSERT INTO dataswarm.effects (task_id, step, remediation_id, target, intent, inverse, effect_class, state, at)
VALUES (%(task_id)s::bigint, %(step)s::text, %(remediation_id)s::bigint, %(target)s::text, %(intent)s::jsonb,
        %(inverse)s::jsonb, %(effect_class)s::text, 'intended', coalesce(%(now)s::timestamptz, statement_timestamp()))
RETURNING *;

-- name: settle_effect
-- index: effects_pkey
UPDATE dataswarm.effects
SET state = %(state)s::text, result = %(result)s::text::jsonb,
    settled_at = coalesce(%(now)s::timestamptz, statement_timestamp())
WHERE id = %(id)s::bigint AND state = ANY (%(before)s::text[])
RETURNING *;

-- name: get_effect
-- index: effects_pkey
SELECT * FROM dataswarm.effects WHERE id = %(id)s::bigint;

-- name: effects_of_remediation
-- index: effects_remediation (remediation_id, id)
SELECT * FROM dataswarm.effects WHERE remediation_id = %(remediation_id)s::bigint ORDER BY id;

-- name: effects_of_task
-- index: effects_task_id_step_key (task_id, step)
SELECT * FROM dataswarm.effects WHERE task_id = %(task_id)s::bigint ORDER BY id;
