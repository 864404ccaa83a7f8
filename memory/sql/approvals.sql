-- Questions to humans: may this remedy run?

-- name: ask_approval
-- index: approvals_pending (remediation_id)
INSERT INTO dataswarm.approvals (remediation_id, incident_id, state, question, asked_at, expires_at)
VALUES (
    %(remediation_id)s::bigint, %(incident_id)s::bigint, 'pending', %(question)s::text,
    coalesce(%(now)s::timestamptz, statement_timestamp()),
    coalesce(%(now)s::timestamptz, statement_timestamp()) + make_interval(secs => %(seconds)s::float8)
)
ON CONFLICT (remediation_id) WHERE state = 'pending' DO NOTHING
RETURNING *;

-- name: pending_approval
-- index: approvals_pending (remediation_id)
SELECT * FROM dataswarm.approvals WHERE remediation_id = %(remediation_id)s::bigint AND state = 'pending';

-- name: approval
-- index: approvals primary key
SELECT a.*, r.subject FROM dataswarm.approvals a JOIN dataswarm.remediations r ON r.id = a.remediation_id
WHERE a.id = %(id)s::bigint;

-- name: answer_approval
-- index: approvals primary key
UPDATE dataswarm.approvals a SET
    state = %(state)s::text, answered_by = %(by)s::text,
    answered_at = coalesce(%(now)s::timestamptz, statement_timestamp())
FROM dataswarm.remediations r
WHERE a.id = %(id)s::bigint AND a.state = 'pending' AND r.id = a.remediation_id
  AND a.expires_at > coalesce(%(now)s::timestamptz, statement_timestamp())
RETURNING a.*, r.subject;

-- name: pending_approvals
-- index: approvals_expiry (expires_at)
SELECT * FROM dataswarm.approvals
WHERE state = 'pending' AND expires_at > coalesce(%(now)s::timestamptz, statement_timestamp())
ORDER BY expires_at, id;

-- name: expire_approvals
-- index: approvals_expiry (expires_at)
UPDATE dataswarm.approvals a SET state = 'expired'
FROM dataswarm.remediations r
WHERE a.state = 'pending' AND r.id = a.remediation_id
  AND a.expires_at <= coalesce(%(now)s::timestamptz, statement_timestamp())
RETURNING a.*, r.subject;
