-- name: enlist_agent
-- index: agents_pkey
INSERT INTO dataswarm.agents AS a (agent, capabilities, clearance, cursor, enlisted_at)
VALUES (%(agent)s::text, %(capabilities)s::jsonb, %(clearance)s::smallint, %(cursor)s::jsonb,
        coalesce(%(now)s::timestamptz, statement_timestamp()))
ON CONFLICT (agent) DO UPDATE SET capabilities = excluded.capabilities, clearance = excluded.clearance
WHERE (a.capabilities, a.clearance) IS DISTINCT FROM (excluded.capabilities, excluded.clearance);

-- name: hold_agent
-- index: agents_pkey
UPDATE dataswarm.agents
SET holder = %(holder)s::uuid, token = gen_random_uuid(), host = %(host)s::text, process = %(process)s::text,
    hears = coalesce(%(hears)s::text, hears),
    lease_until = coalesce(%(now)s::timestamptz, statement_timestamp()) + make_interval(secs => %(seconds)s::float8),
    beat_at = coalesce(%(now)s::timestamptz, statement_timestamp())
WHERE agent = (
    SELECT agent FROM dataswarm.agents
    WHERE agent = %(agent)s::text AND enabled
      AND (holder IS NULL OR holder = %(holder)s::uuid
           OR lease_until <= coalesce(%(now)s::timestamptz, statement_timestamp()))
    FOR UPDATE SKIP LOCKED)
RETURNING agent, holder, token, cursor, lease_until, skipped, skipped_from, skipped_till;

-- name: tell_skipped
-- index: agents_pkey
UPDATE dataswarm.agents SET skipped = 0, skipped_from = NULL, skipped_till = NULL
WHERE agent = %(agent)s::text AND token = %(token)s::uuid AND skipped = %(skipped)s::bigint
  AND lease_until > coalesce(%(now)s::timestamptz, statement_timestamp());

-- name: renew_agents
-- index: agents_pkey
UPDATE dataswarm.agents a
SET lease_until = coalesce(%(now)s::timestamptz, statement_timestamp()) + make_interval(secs => %(seconds)s::float8),
    beat_at = coalesce(%(now)s::timestamptz, statement_timestamp())
FROM unnest(%(agents)s::text[], %(tokens)s::uuid[]) AS held (agent, token)
WHERE a.agent = held.agent AND a.token = held.token AND a.enabled
  AND a.lease_until > coalesce(%(now)s::timestamptz, statement_timestamp())
RETURNING a.agent;

-- name: release_agent
-- index: agents_pkey
UPDATE dataswarm.agents SET holder = NULL, token = NULL, lease_until = NULL
WHERE agent = %(agent)s::text AND token = %(token)s::uuid;

-- name: advance_cursor
-- index: agents_pkey
UPDATE dataswarm.agents SET cursor = %(cursor)s::jsonb
WHERE agent = %(agent)s::text AND token = %(token)s::uuid
  AND lease_until > coalesce(%(now)s::timestamptz, statement_timestamp());

-- name: enable_agent
-- index: agents_pkey; one row into agent_switches where it was otherwise
WITH switched AS (
    UPDATE dataswarm.agents SET enabled = %(enabled)s::boolean
    WHERE agent = %(agent)s::text AND enabled <> %(enabled)s::boolean
    RETURNING agent
)
INSERT INTO dataswarm.agent_switches (at, agent, enabled, by, reason)
SELECT coalesce(%(now)s::timestamptz, statement_timestamp()), agent, %(enabled)s::boolean, %(by)s::text,
       %(reason)s::text
FROM switched
RETURNING at, agent, enabled, by, reason;

-- name: agent_names
-- index: agents_pkey
SELECT agent FROM dataswarm.agents ORDER BY agent;

-- name: agents_switched_off
-- index: none, one row an agent
SELECT agent FROM dataswarm.agents WHERE NOT enabled ORDER BY agent;

-- name: last_switches
-- index: agent_switches_agent (agent, id desc)
SELECT s.at, s.agent, s.enabled, s.by, s.reason
FROM dataswarm.agents a
CROSS JOIN LATERAL (
    SELECT * FROM dataswarm.agent_switches l WHERE l.agent = a.agent ORDER BY l.id DESC LIMIT 1) AS s
ORDER BY s.agent;

-- name: agent_switches
-- index: agent_switches_agent (agent, id desc)
SELECT at, agent, enabled, by, reason FROM dataswarm.agent_switches
WHERE agent = %(agent)s::text ORDER BY id DESC LIMIT %(limit)s::integer;

-- name: all_agents
-- index: agents_pkey; the lag by events_order (xid, id): of the first 5,000 not read, those it hears of, up to 1,000
SELECT a.agent, a.holder, a.host, a.process, a.lease_until, a.beat_at, a.enabled, a.capabilities, behind.lag
FROM dataswarm.agents a
CROSS JOIN LATERAL (
    SELECT count(*) AS lag FROM (
        SELECT FROM (
            SELECT e.topic, e.agent FROM dataswarm.events e
            WHERE (e.xid, e.id) > (
                  greatest(pg_snapshot_xmax((a.cursor ->> 'base')::pg_snapshot), (a.cursor ->> 'xid')::xid8),
                  CASE WHEN (a.cursor ->> 'xid')::xid8 >= pg_snapshot_xmax((a.cursor ->> 'base')::pg_snapshot)
                       THEN (a.cursor ->> 'id')::bigint ELSE -1 END)
            LIMIT 5000) AS newer
        WHERE newer.agent IN ('', a.agent) AND (a.hears IS NULL OR newer.topic ~ a.hears)
        LIMIT 1000) AS heard) AS behind
ORDER BY a.agent;

-- name: beat_process
-- index: processes_pkey
INSERT INTO dataswarm.processes (process_id, host, pid, version, config_fingerprint, agents, figures, started_at, beat_at)
VALUES (%(process_id)s::uuid, %(host)s::text, %(pid)s::int, %(version)s::text, %(config_fingerprint)s::text,
        %(agents)s::text[], %(figures)s::jsonb, coalesce(%(now)s::timestamptz, statement_timestamp()),
        coalesce(%(now)s::timestamptz, statement_timestamp()))
ON CONFLICT (process_id) DO UPDATE
SET config_fingerprint = excluded.config_fingerprint, agents = excluded.agents, figures = excluded.figures,
    beat_at = excluded.beat_at;

-- name: all_processes
-- index: none, one row a replica
SELECT process_id, host, pid, version, config_fingerprint, agents, figures, started_at, beat_at,
       extract(epoch FROM coalesce(%(now)s::timestamptz, statement_timestamp()) - beat_at)::float8 AS silent_seconds
FROM dataswarm.processes ORDER BY started_at, process_id;

-- name: leave_process
-- index: processes_pkey
DELETE FROM dataswarm.processes WHERE process_id = %(process_id)s::uuid;

-- name: forget_processes
-- index: none, one row a replica
DELETE FROM dataswarm.processes
WHERE beat_at < coalesce(%(now)s::timestamptz, statement_timestamp()) - make_interval(secs => %(seconds)s::float8);
