-- What /metrics shows of the blackboard.

-- name: measure_open_incidents
-- index: incidents_open
SELECT kind, severity, count(*) AS number FROM dataswarm.incidents
WHERE state NOT IN ('resolved', 'closed') GROUP BY kind, severity ORDER BY kind, severity;

-- name: measure_escalation_ratio
-- index: incidents_opened (opened_at), of the window alone; escalations_incident (incident_id, id)
SELECT count(*) AS incidents,
       count(*) FILTER (
           WHERE EXISTS (SELECT FROM dataswarm.escalations e WHERE e.incident_id = i.id)
       ) AS escalated
FROM dataswarm.incidents i
WHERE i.opened_at > coalesce(%(now)s::timestamptz, statement_timestamp()) - make_interval(secs => %(seconds)s::float8)
  AND i.resolution IS DISTINCT FROM 'false_positive' AND i.resolution IS DISTINCT FROM 'duplicate';

-- name: measure_waiting
-- index: approvals_expiry; silences_ends; planned_changes_ends
SELECT (SELECT count(*) FROM dataswarm.approvals
        WHERE state = 'pending' AND expires_at > coalesce(%(now)s::timestamptz, statement_timestamp())) AS approvals,
       (SELECT count(*) FROM dataswarm.escalations WHERE state = 'pending') AS escalations,
       (SELECT count(*) FROM dataswarm.silences
        WHERE ends_at > coalesce(%(now)s::timestamptz, statement_timestamp())) AS silences;
