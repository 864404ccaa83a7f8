-- Totals over all incidents there ever were.

-- name: add_to_incident_totals
-- index: incident_totals primary key
INSERT INTO dataswarm.incident_totals AS t (slot, opened, escalated, final, auto)
VALUES (
    pg_backend_pid() %% 32, %(opened)s::bigint, %(escalated)s::bigint, %(final)s::bigint, %(auto)s::bigint
)
ON CONFLICT (slot) DO UPDATE SET
    opened = t.opened + excluded.opened, escalated = t.escalated + excluded.escalated,
    final = t.final + excluded.final, auto = t.auto + excluded.auto;

-- name: incident_totals
-- index: none, all of it: 32 rows at most
SELECT coalesce(sum(opened), 0)::bigint AS opened, coalesce(sum(escalated), 0)::bigint AS escalated,
       coalesce(sum(final), 0)::bigint AS final, coalesce(sum(auto), 0)::bigint AS auto
FROM dataswarm.incident_totals;

-- name: handed_over
-- index: incidents primary key; escalations_incident (incident_id, id)
SELECT resolution, (SELECT count(*) FROM dataswarm.escalations e WHERE e.incident_id = i.id) AS number
FROM dataswarm.incidents i WHERE i.id = %(id)s::bigint;
