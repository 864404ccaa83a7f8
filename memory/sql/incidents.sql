-- Incidents: at most one open per fingerprint; a state changes only from the expected one.

-- name: hold_fingerprint
-- index: none, an advisory lock of this transaction: openers of one fingerprint go one after the other
SELECT pg_advisory_xact_lock(hashtextextended('dataswarm.incident:' || %(fingerprint)s::text, 0));

-- name: join_incident
-- index: incidents_open_fingerprint
UPDATE dataswarm.incidents SET
    severity = CASE WHEN array_position(ARRAY['info', 'warning', 'error', 'critical'], %(severity)s::text)
                       > array_position(ARRAY['info', 'warning', 'error', 'critical'], severity)
                    THEN %(severity)s::text ELSE severity END,
    started_at = least(started_at, %(started_at)s::timestamptz),
    details = %(details)s::jsonb || details,
    version = version + 1
WHERE fingerprint = %(fingerprint)s::text AND state NOT IN ('resolved', 'closed')
RETURNING *;

-- name: reopen_incident
-- index: incidents_fingerprint (fingerprint, id desc)
WITH ended AS (
    SELECT id, state, resolution FROM dataswarm.incidents
    WHERE fingerprint = %(fingerprint)s::text
    ORDER BY id DESC LIMIT 1
)
UPDATE dataswarm.incidents i SET
    state = 'open', severity = %(severity)s::text, ended_at = NULL,
    started_at = least(%(started_at)s::timestamptz, coalesce(%(now)s::timestamptz, statement_timestamp())),
    first_clean_at = NULL, resolution = NULL,
    reopened = i.reopened + 1, details = i.details || %(details)s::jsonb, version = i.version + 1
FROM ended
WHERE i.id = ended.id
  AND i.state IN ('resolved', 'closed')
  AND i.resolution NOT IN ('false_positive', 'duplicate')
  AND i.ended_at > coalesce(%(now)s::timestamptz, statement_timestamp()) - make_interval(secs => %(seconds)s::float8)
RETURNING i.*, ended.state AS before, ended.resolution AS ended;

-- name: open_incident
-- index: incidents_open_fingerprint
INSERT INTO dataswarm.incidents (
    fingerprint, title, kind, severity, state, subject, owner, opened_at, started_at, details
)
VALUES (
    %(fingerprint)s::text, %(title)s::text, %(kind)s::text, %(severity)s::text, 'open', %(subject)s::text,
    %(owner)s::text, coalesce(%(now)s::timestamptz, statement_timestamp()),
    least(%(started_at)s::timestamptz, coalesce(%(now)s::timestamptz, statement_timestamp())), %(details)s::jsonb
)
RETURNING *;

-- name: note_transition
-- index: incident_transitions primary key
INSERT INTO dataswarm.incident_transitions (incident_id, at, before, after, by, reason)
VALUES (
    %(id)s::bigint, coalesce(%(now)s::timestamptz, statement_timestamp()), %(before)s::text, %(after)s::text,
    %(by)s::text, %(reason)s::text
);

-- name: add_incident_members
-- index: incident_members primary key
INSERT INTO dataswarm.incident_members (incident_id, noun, ref, at)
SELECT %(id)s::bigint, noun, ref, coalesce(%(now)s::timestamptz, statement_timestamp())
FROM unnest(%(nouns)s::text[], %(refs)s::bigint[]) AS members (noun, ref)
ON CONFLICT (incident_id, noun, ref) DO NOTHING;

-- name: incident
-- index: incidents primary key
SELECT * FROM dataswarm.incidents WHERE id = %(id)s::bigint;

-- name: lock_incident
-- index: incidents primary key
SELECT * FROM dataswarm.incidents WHERE id = %(id)s::bigint FOR NO KEY UPDATE;

-- name: incident_by_fingerprint
-- index: incidents_open_fingerprint
SELECT * FROM dataswarm.incidents
WHERE fingerprint = %(fingerprint)s::text AND state NOT IN ('resolved', 'closed');

-- name: open_incidents
-- index: incidents_open (id desc)
SELECT * FROM dataswarm.incidents WHERE state NOT IN ('resolved', 'closed')
ORDER BY id DESC LIMIT %(limit)s::integer;

-- name: incidents
-- index: incidents primary key, backwards
SELECT * FROM dataswarm.incidents ORDER BY id DESC LIMIT %(limit)s::integer;

-- name: move_incident
-- index: incidents primary key
UPDATE dataswarm.incidents SET
    state = %(after)s::text,
    details = details || %(details)s::jsonb,
    first_clean_at = CASE WHEN %(after)s::text IN ('open', 'investigating', 'mitigating') THEN NULL
                          ELSE coalesce(%(first_clean_at)s::timestamptz, first_clean_at) END,
    ended_at = CASE WHEN %(after)s::text IN ('resolved', 'closed')
                    THEN coalesce(ended_at, %(now)s::timestamptz, statement_timestamp()) END,
    resolution = CASE WHEN %(after)s::text IN ('resolved', 'closed')
                      THEN coalesce(%(resolution)s::text, resolution) END,
    reopened = reopened + (%(after)s::text = 'open')::integer,
    version = version + 1
WHERE id = %(id)s::bigint AND state = %(before)s::text
RETURNING *;

-- name: annotate_incident
-- index: incidents primary key
UPDATE dataswarm.incidents SET details = details || %(details)s::jsonb, version = version + 1
WHERE id = %(id)s::bigint AND (%(expected)s::integer IS NULL OR version = %(expected)s::integer)
RETURNING *;

-- name: why_not_auto
-- index: incident_transitions_incident, remediations_incident, approvals_incident, escalations_incident
WITH life AS (
    SELECT max(at) AS began FROM dataswarm.incident_transitions WHERE incident_id = %(id)s::bigint AND after = 'open'
)
SELECT EXISTS (
           SELECT FROM dataswarm.remediations r, life
           WHERE r.incident_id = %(id)s::bigint AND r.state = 'verified' AND r.ended_at >= life.began
       ) AS verified,
       EXISTS (
           SELECT FROM dataswarm.approvals a, life
           WHERE a.incident_id = %(id)s::bigint AND a.state IN ('approved', 'denied') AND a.answered_at >= life.began
       ) OR EXISTS (
           SELECT FROM dataswarm.escalations e, life
           WHERE e.incident_id = %(id)s::bigint AND e.state = 'answered' AND e.answered_at >= life.began
       ) AS answered;

-- name: incident_timeline
-- index: incident_transitions_incident (incident_id, id)
SELECT at, incident_id, before, after, by, reason FROM dataswarm.incident_transitions
WHERE incident_id = %(id)s::bigint ORDER BY id;

-- name: incident_members
-- index: incident_members primary key
SELECT noun, ref FROM dataswarm.incident_members WHERE incident_id = %(id)s::bigint ORDER BY at, noun, ref;

-- name: auto_resolution
-- index: incidents_ended (ended_at), of the window alone; over all time the totals know
SELECT count(*) FILTER (WHERE resolution = 'auto') AS auto, count(*) AS final
FROM dataswarm.incidents
WHERE ended_at > coalesce(%(now)s::timestamptz, statement_timestamp()) - make_interval(secs => %(seconds)s::float8)
  AND resolution NOT IN ('false_positive', 'duplicate');

-- name: incident_failed
-- index: tasks_dead_incident (incident_id, id)
SELECT id, agent, kind, subject, died_at AS at, attempt, error,
       CASE WHEN jsonb_typeof(payload -> 'remediation_id') = 'number'
            THEN (payload ->> 'remediation_id')::bigint END AS remediation_id
FROM dataswarm.tasks_dead WHERE incident_id = %(id)s::bigint ORDER BY id;
