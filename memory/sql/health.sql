-- What slows the swarm's database down from outside the swarm. Looking costs the same however much is kept.

-- name: pins
-- index: none, a row a session, prepared transaction or slot; the time of an unseen transaction by events_order (xid, id)
WITH pin AS (
    SELECT CASE WHEN a.datname IS NULL THEN 'standby' ELSE 'transaction' END AS kind, a.pid,
           coalesce(a.application_name, '') AS name,
           greatest(age(a.backend_xmin), age(a.backend_xid))::bigint AS transactions, a.xact_start AS since
    FROM pg_stat_activity a
    WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
      AND (a.datname = current_database() OR a.datname IS NULL) AND a.pid <> pg_backend_pid()
    UNION ALL
    SELECT 'prepared', NULL, gid, age(transaction)::bigint, prepared
    FROM pg_prepared_xacts WHERE database = current_database()
    UNION ALL
    SELECT 'slot', active_pid, slot_name::text, coalesce(age(xmin), age(catalog_xmin))::bigint, NULL
    FROM pg_replication_slots WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL
)
SELECT pin.kind, pin.pid, pin.name, pin.transactions,
       CASE WHEN coalesce(pin.since, seen.at) IS NOT NULL
            THEN greatest(0, extract(epoch FROM coalesce(%(now)s::timestamptz, statement_timestamp())
                                                - coalesce(pin.since, seen.at)))::float8 END AS seconds
FROM pin
LEFT JOIN LATERAL (
    SELECT e.at FROM dataswarm.events e
    WHERE pin.since IS NULL
      AND e.xid >= greatest(pg_snapshot_xmax(pg_current_snapshot())::text::bigint - pin.transactions, 3)::text::xid8
    ORDER BY e.xid, e.id LIMIT 1) AS seen ON true
ORDER BY pin.transactions DESC, pin.kind, pin.pid;

-- name: table_health
-- index: pg_class_oid_index, a row a table; partitions are left out, they are dropped and not vacuumed for long
SELECT s.relname::text AS name, s.n_live_tup AS live, s.n_dead_tup AS dead,
       pg_total_relation_size(s.relid) AS bytes,
       extract(epoch FROM coalesce(%(now)s::timestamptz, statement_timestamp())
                          - greatest(s.last_autovacuum, s.last_vacuum))::float8 AS vacuumed_seconds_ago
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
WHERE s.schemaname = 'dataswarm' AND c.relkind = 'r' AND NOT c.relispartition AND s.relname = ANY (%(tables)s::text[])
ORDER BY s.relname;
