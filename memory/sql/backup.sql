-- Backup and restore, run as the owner.

-- name: begin_backup
-- session: one moment for the dump and for the figures beside it
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL ROLE dataswarm_owner;

-- name: backup_moment
-- index: none, no table
SELECT pg_export_snapshot() AS snapshot, statement_timestamp() AS at,
       current_setting('server_version_num')::int / 10000 AS server;

-- name: backup_tables
-- index: pg_class_relname_nsp_index
SELECT c.relname::text AS name FROM pg_class c
WHERE c.relnamespace = 'dataswarm'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname;

-- name: count_rows
-- session: every row of a table, once per backup and once per restore
SELECT count(*) AS number FROM dataswarm.{table};

-- name: backup_keys
-- index: data_keys_wrapping (key_id, id)
SELECT DISTINCT key_id FROM dataswarm.data_keys ORDER BY key_id;

-- name: is_half_restored
-- index: pg_class_relname_nsp_index; migrations primary key
SELECT to_regclass('dataswarm.migrations') IS NOT NULL AS begun,
       EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('dataswarm')) AS used;

-- name: drop_half_restored
-- session: what an interrupted restore left; never a memory in use, which has its migrations on record
DROP SCHEMA dataswarm CASCADE;

-- name: begin_era
-- index: eras primary key
INSERT INTO dataswarm.eras (era, at) SELECT max(era) + 1, statement_timestamp() FROM dataswarm.eras;

-- name: rebase_events
-- index: none, every event and every agent once. Events nobody has still to read get the lowest number there is; the
-- others get small numbers in their old order, a new one wherever the set of agents that have to read them changes.
-- Each agent's cursor is a snapshot in which exactly its own numbers are still open.
WITH unread AS (
    SELECT e.at, e.id, e.xid, array_agg(a.agent ORDER BY a.agent) AS agents
    FROM dataswarm.agents a
    CROSS JOIN LATERAL (
        SELECT (a.cursor ->> 'base')::pg_snapshot AS base, (a.cursor ->> 'target')::pg_snapshot AS target,
               (a.cursor ->> 'xid')::xid8 AS xid, (a.cursor ->> 'id')::bigint AS id
    ) c
    JOIN dataswarm.events e ON NOT pg_visible_in_snapshot(e.xid, c.base)
        AND (c.target IS NULL OR (e.xid, e.id) > (c.xid, c.id) OR NOT pg_visible_in_snapshot(e.xid, c.target))
    GROUP BY e.at, e.id, e.xid
), turns AS (
    SELECT u.*, (agents IS DISTINCT FROM lag(agents) OVER (ORDER BY xid, id))::int AS turn FROM unread u
), numbered AS (
    SELECT t.at, t.id, t.agents, 3 + sum(turn) OVER (ORDER BY xid, id) AS number FROM turns t
), renumbered AS (
    UPDATE dataswarm.events e SET xid = n.number::text::xid8
    FROM (
        SELECT o.at, o.id, coalesce(n.number, 3) AS number
        FROM dataswarm.events o LEFT JOIN numbered n ON (n.at, n.id) = (o.at, o.id)
    ) n
    WHERE (e.at, e.id) = (n.at, n.id)
), open AS (
    SELECT a.agent, array_agg(DISTINCT n.number ORDER BY n.number) AS numbers, count(*) AS waiting
    FROM numbered n CROSS JOIN LATERAL unnest(n.agents) AS a (agent) GROUP BY a.agent
), moved AS (
    UPDATE dataswarm.agents a SET
        holder = NULL, token = NULL, lease_until = NULL,
        cursor = jsonb_build_object(
            'base', format('%%s:%%s:%%s', coalesce(o.numbers[1]::text, s.xmax), s.xmax,
                           coalesce(array_to_string(o.numbers, ','), '')),
            'target', NULL, 'xid', '0', 'id', 0)
    FROM (
        SELECT w.agent, o.numbers, pg_snapshot_xmax(pg_current_snapshot())::text AS xmax
        FROM dataswarm.agents w LEFT JOIN open o ON o.agent = w.agent
    ) o
    CROSS JOIN LATERAL (SELECT o.xmax) AS s (xmax)
    WHERE a.agent = o.agent
)
SELECT coalesce(max(number), 3)::bigint AS highest, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next,
       (SELECT coalesce(sum(waiting), 0)::bigint FROM open) AS waiting
FROM numbered;

-- name: forget_old_processes
-- index: none, one row a replica of the other server
DELETE FROM dataswarm.processes;

-- name: record_migration
-- index: migrations primary key
INSERT INTO dataswarm.migrations (number, name, phase, checksum, applied_at)
VALUES (%(number)s::int, %(name)s::text, %(phase)s::text, %(checksum)s::text, %(applied_at)s::timestamptz);
