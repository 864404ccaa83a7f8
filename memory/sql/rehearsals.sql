-- Verdicts of replays on a branch.

-- name: begin_rehearsal
-- index: rehearsals primary key
INSERT INTO dataswarm.rehearsals (branch, agent, since, until, by, at)
VALUES (%(branch)s::text, %(agent)s::text, %(since)s::timestamptz, %(until)s::timestamptz, %(by)s::text,
        coalesce(%(now)s::timestamptz, statement_timestamp()))
RETURNING id, branch, agent, since, until, by, at;

-- name: rehearse
-- index: rehearsed_verdicts primary key
INSERT INTO dataswarm.rehearsed_verdicts (rehearsal_id, place, event_id, verdict, subject, cause, body, sensitivity)
SELECT %(id)s::bigint, place, event_id, verdict, subject, cause, body::jsonb, sensitivity
FROM unnest(
    %(places)s::int[], %(events)s::bigint[], %(verdicts)s::text[], %(subjects)s::text[], %(causes)s::text[],
    %(bodies)s::text[], %(sensitivities)s::smallint[]
) AS n (place, event_id, verdict, subject, cause, body, sensitivity);

-- name: rehearsals
-- index: rehearsals_branch (branch, id)
SELECT id, branch, agent, since, until, by, at FROM dataswarm.rehearsals
WHERE (%(branch)s::text IS NULL OR branch = %(branch)s::text)
  AND (%(agent)s::text IS NULL OR agent = %(agent)s::text)
ORDER BY id DESC LIMIT %(limit)s::integer;

-- name: rehearsal
-- index: rehearsals primary key
SELECT id, branch, agent, since, until, by, at FROM dataswarm.rehearsals WHERE id = %(id)s::bigint;

-- name: rehearsed
-- index: rehearsed_verdicts primary key
SELECT event_id, verdict, subject, cause, body, sensitivity FROM dataswarm.rehearsed_verdicts
WHERE rehearsal_id = %(id)s::bigint ORDER BY place;

-- name: decided_between
-- index: decisions primary key (at, id)
SELECT kind AS verdict, subject, cause FROM dataswarm.decisions
WHERE agent = %(agent)s::text AND at >= %(since)s::timestamptz AND at < %(until)s::timestamptz
  AND kind = ANY (%(kinds)s::text[])
ORDER BY at, id;
