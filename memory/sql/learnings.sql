-- What was learned, as choices use it.

-- name: success_rates
-- index: learnings_cause (cause, playbook)
SELECT l.playbook,
       count(*) FILTER (WHERE l.signal = 'success') AS successes,
       count(*) AS tries,
       count(*) FILTER (WHERE l.signal = 'success' AND a.alike) AS alike_successes,
       count(*) FILTER (WHERE a.alike) AS alike_tries
FROM dataswarm.learnings l, LATERAL (
    SELECT coalesce(bool_and(mine.value = given.value), false)
           OR coalesce(split_part(l.subject, '#', 1) = %(whole)s::text, false) AS alike
    FROM jsonb_each(CASE jsonb_typeof(l.circumstances) WHEN 'object' THEN l.circumstances ELSE '{}' END) mine
    JOIN jsonb_each(%(circumstances)s::jsonb) given ON given.key = mine.key
) a
WHERE l.cause = %(cause)s::text AND l.signal IN ('success', 'failure')
  AND (%(playbooks)s::text[] IS NULL OR l.playbook = ANY (%(playbooks)s::text[]))
GROUP BY l.playbook ORDER BY l.playbook;

-- name: learning
-- index: learnings primary key
SELECT id, at, agent, signal, playbook, cause, subject, text, circumstances, sensitivity
FROM dataswarm.learnings WHERE id = %(id)s::bigint;
