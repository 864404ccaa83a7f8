-- Incidents handed to humans.

-- name: escalate
-- index: escalations primary key; incidents primary key; locks the incident, so that one escalation is its first
INSERT INTO dataswarm.escalations (incident_id, state, reason, packet, at)
SELECT id, 'pending', %(reason)s::text, %(packet)s::jsonb, coalesce(%(now)s::timestamptz, statement_timestamp())
FROM dataswarm.incidents WHERE id = %(incident_id)s::bigint
FOR NO KEY UPDATE
RETURNING *, (SELECT subject FROM dataswarm.incidents i WHERE i.id = incident_id) AS subject;

-- name: escalation
-- index: escalations primary key
SELECT * FROM dataswarm.escalations WHERE id = %(id)s::bigint;

-- name: escalations
-- index: escalations_incident (incident_id, id), or the primary key where no incident is given
SELECT * FROM dataswarm.escalations
WHERE %(incident_id)s::bigint IS NULL OR incident_id = %(incident_id)s::bigint
ORDER BY id;

-- name: answer_escalation
-- index: escalations primary key
UPDATE dataswarm.escalations e SET
    state = %(state)s::text, answered_by = %(by)s::text,
    answered_at = coalesce(%(now)s::timestamptz, statement_timestamp())
FROM dataswarm.incidents i
WHERE e.id = %(id)s::bigint AND e.state = ANY (%(before)s::text[]) AND i.id = e.incident_id
RETURNING e.*, i.subject;
