-- name: task_steps
-- index: steps_pkey (task_id, name)
SELECT name, version, shape, output, attempt, at FROM dataswarm.steps
WHERE task_id = %(task_id)s::bigint ORDER BY at, name;

-- name: write_step
-- index: steps_pkey (task_id, name)
INSERT INTO dataswarm.steps (task_id, name, version, shape, output, attempt, at)
VALUES (%(task_id)s::bigint, %(name)s::text, %(version)s::int, %(shape)s::text, %(output)s::text::jsonb,
        %(attempt)s::int, coalesce(%(now)s::timestamptz, statement_timestamp()))
RETURNING at;

-- name: forget_steps
-- index: steps_time (at), brin
DELETE FROM dataswarm.steps
WHERE at < coalesce(%(now)s::timestamptz, statement_timestamp()) - make_interval(days => %(days)s::int)
  AND NOT EXISTS (SELECT FROM dataswarm.tasks t WHERE t.id = steps.task_id)
  AND NOT EXISTS (SELECT FROM dataswarm.tasks_scheduled t WHERE t.id = steps.task_id)
  AND NOT EXISTS (SELECT FROM dataswarm.tasks_dead t WHERE t.id = steps.task_id);
