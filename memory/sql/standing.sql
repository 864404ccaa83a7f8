-- name: approved_by
-- index: approvals_incident
SELECT a.answered_by
FROM dataswarm.approvals a
JOIN dataswarm.remediations r ON r.id = a.remediation_id AND r.incident_id = a.incident_id
WHERE r.id = %(remediation_id)s::bigint AND a.state = 'approved'
ORDER BY a.id DESC
LIMIT 1;

-- name: remedies_applied
-- index: remediations_applied
SELECT count(*) AS everywhere,
       count(*) FILTER (WHERE subject = %(subject)s::text) AS on_subject
FROM dataswarm.remediations
WHERE applied_at > coalesce(%(now)s::timestamptz, statement_timestamp()) - make_interval(secs => %(seconds)s::double precision);

-- name: remedies_failed_on
-- index: remediations_incident
SELECT count(*) AS failed
FROM dataswarm.remediations
WHERE incident_id = %(incident_id)s::bigint AND state IN ('failed', 'undone')
  -- one that did not fit was never tried
  AND NOT coalesce((result ->> 'unfit')::boolean, false);
