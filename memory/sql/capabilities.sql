-- What agents can be asked to do.

-- name: capabilities
-- index: agents primary key
SELECT agent, enabled, clearance, capabilities, lease_until > coalesce(%(now)s::timestamptz, statement_timestamp()) AS up
FROM dataswarm.agents WHERE %(agent)s::text IS NULL OR agent = %(agent)s::text ORDER BY agent;
